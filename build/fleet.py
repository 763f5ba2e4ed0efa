"""A fleet on this machine, for the quickstart and the benchmarks: an authority, a relay, the nodes gw-a and gw-b.

Where their programs run is a Site: each node in a namespace behind a NAT, or all on loopback.
"""

import contextlib
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from build.kube import Client, Kube, RefusedError, local
from build.lab import RELAY, Lab
from build.processes import descendants, end, gone, named, owner, started

ROOT = Path(__file__).resolve().parent.parent
NODES = ("gw-a", "gw-b")
PLACES = {"gw-a": "a", "gw-b": "b", "relay": "public"}  # in the lab
STOP_S = 10.0
READY_S = 30.0
RELAY_PORT = 7443
MODBUS_PORT = 1502  # as the example says
PORTS = range(20_000, 32_000)  # below those that the kernel gives to whoever asks for none in particular
PORTS_EACH = 30  # between the first ones of two programs that look for some at the same time
LAST_WORDS = 500  # characters
MAKER = re.compile(r"\d+-\d+")

T = TypeVar("T")
Settings = dict[str, dict[str, Any]]


class Site(Protocol):
    """Where the programs of a fleet run, and how one reaches another."""

    title: str
    relay: str  # host:port
    modbus: int  # a port of 127.0.0.1 at gw-a

    def argv(self, who: str, argv: Sequence[str | Path]) -> list[str]:
        """What runs `argv` where `who` (a node or "relay") is."""
        ...

    def connect(self, who: str, host: str, port: int) -> socket.socket:
        """A TCP connection from where `who` is."""
        ...

    def settings(self, node: str) -> Settings:
        """What a node's edged.toml must say for this place."""
        ...


class Namespaces:
    """Each node in a network namespace behind a NAT of its own, the relay in a public one."""

    title = "namespaces, each node behind a NAT of its own"
    relay = f"{RELAY}:{RELAY_PORT}"
    modbus = MODBUS_PORT

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def argv(self, who: str, argv: Sequence[str | Path]) -> list[str]:
        """Through `ip netns exec`."""
        return self.lab.argv(PLACES[who], argv)

    def connect(self, who: str, host: str, port: int) -> socket.socket:
        """From inside the namespace."""
        return self.lab.connect(PLACES[who], host, port)

    def settings(self, node: str) -> Settings:
        """The defaults; a site has no resolver to ask for other names."""
        return {}


class Loopback:
    """All on the loopback interface, each with ports and service addresses of its own."""

    title = "processes on loopback"

    def __init__(self) -> None:
        ports = iter(free_ports(2 + 2 * len(NODES)))
        self.relay = f"127.0.0.1:{next(ports)}"
        self.modbus = next(ports)
        self._ports = {node: (next(ports), next(ports)) for node in NODES}

    def argv(self, who: str, argv: Sequence[str | Path]) -> list[str]:
        """As it is."""
        return [str(argument) for argument in argv]

    def connect(self, who: str, host: str, port: int) -> socket.socket:
        """As it is."""
        return socket.create_connection((host, port), 5)

    def settings(self, node: str) -> Settings:
        """Ports that are free, and a loopback network a node."""
        api, udp = self._ports[node]
        return {
            "api": {"listen": f"127.0.0.1:{api}"},
            "hub": {"listen": f"127.0.0.1:{udp}"},
            "mesh": {"rootless": True, "loopback": f"127.{96 + NODES.index(node)}.0.0/16"},
        }


class Fleet:
    """The programs, all ended when the `with` block ends. `folder` holds their files; `bin` has `edged` and `edged-relay`."""

    def __init__(self, folder: Path, bin_: Path, site: Site) -> None:
        self.folder, self._bin, self.site = folder, bin_, site
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.lines: dict[str, Path] = {}  # what each program printed

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._running)):
            self.stop(name)

    def config(self, node: str) -> Path:
        """A node's edged.toml."""
        return self.folder / f"{node}.toml"

    def kubeconfig(self, node: str) -> Path:
        """A node's kubeconfig."""
        return self.folder / f"{node}.kubeconfig"

    def edged(self, *arguments: str | Path) -> str:
        """Run the command line to its end; what it printed. FailedError when it fails."""
        return execute([self._bin / "edged", *arguments])

    def make(self, runtime: Settings) -> None:
        """The authority, the relay's certificate, and each node's settings and identity. `runtime`: a node's [runtime]."""
        authority = self.folder / "authority"
        self.edged("fleet", "init", authority)
        host = self.site.relay.rpartition(":")[0]
        self.edged("fleet", "relay", "relay", "--dir", authority, "--host", host, "-o", self.folder / "relay")
        for node in NODES:
            state = {"node": {"state_dir": str(self.folder / node)}}
            self.config(node).write_text(toml({**state, "runtime": runtime[node], **self.site.settings(node)}))
            bundle = self.folder / f"{node}.bundle"
            self.edged(
                *("fleet", "issue", node, "--group", "site", "--relay", f"wss://{self.site.relay}"),
                *("--dir", authority, "-o", bundle),
            )
            self.edged("join", bundle, "--config", self.config(node))

    def start_relay(self) -> None:
        """Start the relay; return when it listens."""
        folder = self.folder / "relay"
        self.start(
            "relay",
            [
                *(self._bin / "edged-relay", "run", "--listen", self.site.relay, "--authority", folder / "authority.crt"),
                *("--cert", folder / "relay.crt", "--key", folder / "relay.key"),
            ],
        )
        host, _, port = self.site.relay.rpartition(":")

        def listens() -> bool:
            self.site.connect("relay", host, int(port)).close()
            return True

        self.wait("the relay to listen", listens, READY_S, alive="relay")

    def start_node(self, node: str) -> Kube:
        """Start a node's daemon; return when its API is ready."""
        self.start(node, self.daemon(node))
        return self.ready(node)

    def daemon(self, node: str) -> list[str | Path]:
        """What runs a node."""
        return [self._bin / "edged", "run", "--config", self.config(node)]

    def ready(self, node: str) -> Kube:
        """Wait until a started node's API is ready, and make its kubeconfig."""
        self.wait(f"{node}'s API to answer", lambda: self.local(node).get("/readyz"), READY_S, alive=node)
        self.kubeconfig(node).write_text(self.edged("kubeconfig", "--config", self.config(node)))
        kube = self.kube(node)
        self.wait(f"{node}'s API to answer", lambda: kube.get("/readyz"), READY_S, alive=node)
        return kube

    def local(self, node: str) -> Client:
        """A client of a node's Unix socket, which needs no kubeconfig and is the same wherever the node is."""
        return local(self.folder / node / "api.sock")

    def kube(self, node: str) -> Kube:
        """A client of a node's API."""
        return Kube(self.kubeconfig(node), lambda host, port: self.site.connect(node, host, port))

    def kubectl(self, node: str, *arguments: str | Path) -> str:
        """Run kubectl against a node's API, from where the node is; what it printed."""
        cache = {"KUBECACHEDIR": str(self.folder / "kubectl")}
        return self.run(node, ["kubectl", "--kubeconfig", self.kubeconfig(node), *arguments], cache).strip()

    def run(self, where: str, argv: Sequence[str | Path], extra: dict[str, str] | None = None) -> str:
        """Run a program where a node is, to its end; what it printed. FailedError when it fails."""
        return execute(self.site.argv(where, argv), extra)

    def start(self, name: str, argv: Sequence[str | Path], *, where: str = "") -> None:
        """Start a program by a name; `where` is the node at which it runs, if that is not its name. It ends when we do."""
        log = self.lines.setdefault(name, self.folder / f"{name}.log")
        with log.open("ab") as file:
            self._running[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.site.argv(where or name, argv)],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, env=environment(),
            )  # fmt: skip

    def pid(self, name: str) -> int:
        """The process of a program."""
        return self._running[name].pid

    def kill(self, name: str) -> None:
        """SIGKILL: no program can prepare for it."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str) -> None:
        """SIGTERM, and SIGKILL when that does not help in STOP_S."""
        process = self._running.pop(name)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        process.kill()
        process.wait()

    def wait(self, what: str, look: Callable[[], T], seconds: float, *, alive: str = "", every: float = 0.1) -> T:
        """Call `look` until its answer is true, and return that. FailedError after `seconds`, or when `alive` ended.

        Its OSError, FailedError, RefusedError or LookupError means "not yet"; the last one is told when time is up.
        """
        deadline = time.monotonic() + seconds
        last = ""
        while True:
            try:
                answer = look()
                if answer:
                    return answer
            except (OSError, FailedError, LookupError, RefusedError) as error:
                last = f": {error}"
            if alive and self._running[alive].poll() is not None:
                raise FailedError(f"{alive} ended with exit code {self._running[alive].returncode}")
            if time.monotonic() > deadline:
                raise FailedError(f"waited {seconds:.0f} s for {what}{last}")
            time.sleep(every)


class FailedError(Exception):
    """A step did not go as it must; the text says which."""


def environment() -> dict[str, str]:
    """Ours without settings of edged, which are meant for other nodes; with byte code, as what is installed has it."""
    others = ("EDGED_", "NOTIFY_SOCKET", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(others)}


def execute(argv: Sequence[str | Path], extra: dict[str, str] | None = None) -> str:
    """Run to the end, with `extra` in the environment; what it printed. FailedError with its last words when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment() | (extra or {}))
    if done.returncode != 0:
        raise FailedError(f"{' '.join(map(str, argv))}: exit {done.returncode}: {done.stderr.strip()[-LAST_WORDS:]}")
    return done.stdout


def toml(settings: Settings) -> str:
    """Tables of texts, numbers, booleans, lists and tables as TOML."""
    tables = (
        "\n".join([f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())])
        for name, table in settings.items()
    )
    return "\n\n".join(tables) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has on loopback at the moment, neither TCP nor UDP, nor gets by chance before we take them."""
    first = os.getpid() * PORTS_EACH % len(PORTS)
    free = (port for port in (*PORTS[first:], *PORTS[:first]) if _is_free(port))
    return list(itertools.islice(free, count))


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def _end_all(pids: list[int]) -> None:
    pids += descendants(pids)
    end(lambda: [pid for pid in pids if started(pid)])


@contextlib.contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """A folder for our own use that goes with all that is in it; and what killed programs left of theirs, goes first."""
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}-*"):
        maker = MAKER.match(left.name.removeprefix(f"{prefix}-"))  # none: another's prefix begins with ours
        if maker and gone(maker[0]):
            _end_all(named(str(left)))
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-{owner()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
