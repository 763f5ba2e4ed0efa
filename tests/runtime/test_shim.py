import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.runtime import shim
from edged.runtime.shim import LINE_BYTES, Lines, Log, stamp, start_ticks


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    monkeypatch.undo()


def close(log: Log) -> None:
    os.close(log._file)


def test_times_compare_as_text() -> None:
    assert stamp(0) == "1970-01-01T00:00:00.000000000Z"
    assert stamp(1_700_000_000_000_000_001) == "2023-11-14T22:13:20.000000001Z"


def test_when_a_process_started() -> None:
    assert start_ticks(os.getpid()) is not None
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        deadline = time.monotonic() + 60
        while start_ticks(child.pid) is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert start_ticks(child.pid) is None  # gone; before that a zombie, which has ended too


@given(st.lists(st.sampled_from([b"a", b"\n", b"bc\nd", b"x" * (LINE_BYTES - 1), b"y" * (2 * LINE_BYTES)]), max_size=12))
def test_lines_lose_nothing_however_they_are_cut(pieces: list[bytes]) -> None:
    lines = Lines()
    parts = [part for piece in pieces for part in lines.feed(piece)] + lines.rest()
    assert b"".join(text + (b"\n" if full else b"") for text, full in parts) == b"".join(pieces)
    assert all(len(text) <= LINE_BYTES and b"\n" not in text for text, _ in parts)


def test_a_line_is_told_when_it_ends() -> None:
    lines = Lines()
    assert lines.feed(b"one\ntw") == [(b"one", True)]
    assert lines.feed(b"o\n") == [(b"two", True)]
    assert lines.rest() == []


@given(st.lists(st.binary(min_size=1, max_size=60).filter(lambda text: b"\n" not in text), max_size=60))
def test_files_are_bounded(texts: list[bytes]) -> None:
    import tempfile  # noqa: PLC0415 - hypothesis and fixtures of one call do not go together

    before = Path.cwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        try:
            log = Log(500, 3)
            for text in texts:
                log.write("stdout", [(text, True)])
            close(log)
            sizes = {path.name: path.stat().st_size for path in Path(directory).iterdir()}
            newest = Path("log").read_bytes()
        finally:
            os.chdir(before)
    assert set(sizes) <= {"log", "log.1", "log.2"}
    assert all(size <= 500 for size in sizes.values())
    assert not texts or newest.endswith(b" stdout F " + texts[-1] + b"\n")


def test_a_full_disk_loses_lines_and_says_so(here: Path) -> None:
    log = Log(10**6, 3)
    log.write("stdout", [(b"before", True)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((here / "log").stat().st_size + 10, hard))
    try:
        log.write("stdout", [(b"lost", True), (b"lost too", True)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.write("stdout", [(b"after", True)])
    close(log)
    texts = [line.split(b" ", 3)[-1] for line in (here / "log").read_bytes().splitlines() if line.count(b" ") >= 3]
    assert texts == [b"before", b"(2 lines lost: the disk refused them)", b"after"]


def test_it_says_why_there_is_no_shim(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-I", "-S", shim.__file__, str(tmp_path)], capture_output=True, text=True, env={}, check=False
    )
    assert found.returncode == 1
    assert "made.json" in found.stderr


def test_no_shelter_from_the_out_of_memory_killer() -> None:
    score = "print(open('/proc/self/oom_score_adj').read().strip())"
    program = f"import sys; sys.path.insert(0, {str(Path(shim.__file__).parent)!r}); import shim; {score}"
    program += f"; shim.give_up_shelter(900); {score}; shim.give_up_shelter(); {score}"
    found = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(found[0]) < 900
    assert found[1:] == ["900", "900"]


def test_it_loads_little() -> None:
    program = f"import sys; sys.path.insert(0, {str(Path(shim.__file__).parent)!r}); import shim; print(*sys.modules)"
    argv = [sys.executable, "-I", "-S", "-c", program]
    loaded = subprocess.run(argv, capture_output=True, text=True, env={}, check=True).stdout.split()
    assert "shim" in loaded
    assert not {"edged", "trio", "asyncio", "subprocess", "msgspec", "pathlib", "threading"} & set(loaded)
