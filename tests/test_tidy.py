"""The rules of the house that a machine can check; pyproject.toml's import-linter contracts hold the layers."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_LINES = 600
TOP = {
    *(".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "requirements.lock"),
    *("build", "edged", "packaging", "relay", "systemd", "tests"),
}
FORBIDDEN_WORDS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")

# What a pure file does not import: with these come clocks, chance, disks and sockets.
IMPURE = {"trio", "trio_websocket", "socket", "ssl", "apsw", "subprocess", "threading", "time", "random"}

# The shells, by room: the files that touch the world. A new file is pure until it is listed here.
SHELLS = {
    "edged": "daemon",
    "edged/api": "door histories http watch",
    "edged/cli": "cleanup client device devicehistory devicetest netcheck ping run",
    "edged/control": "controllers machine",
    "edged/device": "aio doors intake mapper poller reporter timer trial worker",
    "edged/device/ble": "mapper",
    "edged/device/bus": "bus client desk exchange",
    "edged/device/dmi": "server service",
    "edged/device/opcua": "mapper trust",
    "edged/device/modbus": "line rtu serialport session tcp",
    "edged/device/virtual": "mapper",
    "edged/device/history": "journal ring",
    "edged/device/push": "mysql pushing redis way web",
    "edged/device/rules": "counts router web",
    "edged/hub": (
        "answering connection dialling discovery forwarding hub linker mapper memory netcheck peer relaydial relaylink sockets "
        "stream switch"
    ),
    "edged/kit": "executor http interfaces notify queues sqlite supervise tcp udp",
    "edged/mesh": (
        "conntrack datagrams flowlink flowserver forwarder kernel mesh peek proxy redirected resolvers server socksserver "
        "streams tunnel twins udp udpdoors"
    ),
    "edged/runtime": "dockerd logfile logs podnetwork process shim worker",
    "edged/store": "backup commits disk faults numbers opening reading salvage schema store table",
    "edged/sync": "abroad exchange group membership neighbourhood replicator upkeep",
    "relay": "__main__ clients http server udp",
}

# Third-party and heavy standard modules that one place alone imports, so that a node loads them only when it needs them.
ONLY_IN = {
    "asyncio": {
        *("edged/device/aio.py", "edged/device/ble/radio.py", "edged/device/dmi/server.py"),
        *(f"edged/device/opcua/{name}.py" for name in ("connection", "frames", "subscription")),
    },
    "grpclib": {"edged/device/dmi/server.py"},
    "asyncua": {f"edged/device/opcua/{name}.py" for name in ("access", "connection", "frames", "subscription", "variants")},
    "bleak": {"edged/device/ble/radio.py"},
}

# Files whose test stands elsewhere, and where.
TESTED_ELSEWHERE = {
    "build/frozen.py": "tests/e2e/test_quickstart.py",  # it runs in the packed binary only
    "build/lab.py": "tests/lab/test_lab.py",
    "edged/__main__.py": "tests/cli/test_main.py",
    "edged/device/property.py": "tests/device/test_twin.py",
}


def listed() -> list[str]:
    """The files of the project: tracked, or new and not ignored."""
    argv = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [name for name in found if name and (ROOT / name).is_file()]


FILES = listed()
CODE = [name for name in FILES if name.endswith(".py") and name.split("/")[0] in ("edged", "relay", "build")]
ROOMS = [name for name in CODE if not name.startswith("build/")]


def imports(name: str) -> Iterator[tuple[str, str]]:
    """(module, imported name) of each import anywhere in the file; the name is empty for `import module`."""
    for node in ast.walk(ast.parse((ROOT / name).read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{name}: relative imports hide which layer they reach"
            yield from ((node.module, alias.name) for alias in node.names)


def impure_imports(name: str) -> set[str]:
    found = {module for module, imported in imports(name) if (module, imported) != ("random", "Random")}
    return {module for module in found if module.split(".")[0] in IMPURE}


def test_the_top_level_is_the_layout_of_the_house() -> None:
    assert {name.split("/")[0] for name in FILES} <= TOP


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith((".lock", "LICENSE", ".json"))])
def test_a_file_is_short_and_finished(name: str) -> None:
    text = (ROOT / name).read_text()
    assert text.count("\n") <= MAX_LINES, f"{name}: one concept a file; at most {MAX_LINES} lines"
    assert not FORBIDDEN_WORDS.search(text), f"{name}: finish it, or open an issue"


@pytest.mark.parametrize("name", ROOMS)
def test_a_file_is_pure_unless_it_is_a_shell(name: str) -> None:
    found = impure_imports(name)
    room, _, file = name.rpartition("/")
    if file.removesuffix(".py") in SHELLS.get(room, "").split():
        assert found, f"{name} is pure: take it off SHELLS"
    else:
        assert not found, f"{name} imports {', '.join(sorted(found))}: make it pure, or list it in SHELLS"


def test_every_shell_is_there() -> None:
    assert {f"{room}/{name}.py" for room, names in SHELLS.items() for name in names.split()} <= set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_some_modules_are_imported_in_one_place_only(name: str) -> None:
    for module, _ in imports(name):
        allowed = ONLY_IN.get(module.split(".")[0])
        assert allowed is None or name in allowed, f"{name} imports {module}, which only {allowed} may"


def beside(name: str) -> str:
    """`edged/store/window.py` is tested in `tests/store/test_window.py`; what is in no room, in `tests/`."""
    path = Path(name.removeprefix("edged/"))
    return str(Path("tests") / path.parent / f"test_{path.stem.strip('_')}.py")


def acts(name: str) -> bool:
    """Whether there is anything to run in a file, beyond the fields of what it declares."""
    nodes = ast.walk(ast.parse((ROOT / name).read_text()))
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "__init__" for node in nodes)


@pytest.mark.parametrize("name", [name for name in CODE if not name.endswith("__init__.py") and acts(name)])
def test_a_file_has_its_test(name: str) -> None:
    expected = TESTED_ELSEWHERE.get(name) or beside(name)
    assert expected in FILES, f"{name}: write {expected}"


def test_every_exception_is_needed() -> None:
    assert set(CODE) >= set(TESTED_ELSEWHERE)
    assert [name for name in TESTED_ELSEWHERE if beside(name) in FILES] == []


@pytest.mark.parametrize("name", CODE)
def test_names_say_what_a_file_is(name: str) -> None:
    assert Path(name).stem not in ("util", "utils", "helpers", "misc", "common")


@pytest.mark.parametrize("room", sorted({str(Path(name).parent) for name in CODE} - {"edged"}))
def test_a_room_says_what_it_is(room: str) -> None:
    assert f"{room}/README.md" in FILES
    text = (ROOT / room / "README.md").read_text()
    for name in CODE:
        path = Path(name)
        if str(path.parent) == room and path.stem != "__init__":
            assert path.name in text, f"{room}/README.md does not mention {path.name}"
