"""`build/quickstart`: two gateways behind NATs, a relay, one call by name, one real device, kubectl. See --help."""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from build import machine, processes
from build.fleet import NODES, PLACES, FailedError, Fleet, Loopback, Namespaces, temporary
from build.kube import RefusedError
from build.lab import Lab, possible
from build.progress import Progress
from build.story import Story

DESCRIPTION = """\
Shows what edged is for, on this machine, with real programs: a fleet authority, a relay and two nodes, each behind a NAT of
its own (as root; else on loopback). It cleans up everything it made.
"""
TAIL_LINES = 30  # of each program's output, when a step fails
ROOT_NEEDS = ("iproute2", "nftables")
MESH_DNS = "169.254.96.16"


def main(arguments: list[str]) -> int:
    """Tell the story; then stay until Ctrl-C unless told otherwise. Returns the exit code."""
    options = parse(arguments)
    console = Console()
    machine.end_on_signals()
    try:
        with contextlib.ExitStack() as stack:
            runtime = choose_runtime(options.runtime, console)
            fleet = make(stack, options.binary, runtime)
            if tell(fleet, runtime, console):
                if not options.once:
                    invite(console, fleet)
                    signal.pause()
                return 0
    except (FailedError, OSError, subprocess.CalledProcessError) as error:
        console.print(f"[red]failed[/] {told(error)}", highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        console.print("everything is cleaned up")
        return 130 if options.once else 0
    return 1


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="build/quickstart", description=DESCRIPTION)
    parser.add_argument("--once", action="store_true", help="end after the table instead of staying up until Ctrl-C")
    parser.add_argument("--runtime", choices=("docker", "process"), help="what runs the pods (default: docker if it answers)")
    parser.add_argument("--binary", type=Path, metavar="DIR", help="use the programs in this folder, as build/binary makes it")
    return parser.parse_args(arguments)


def choose_runtime(wish: str | None, console: Console) -> str:
    """Get as root what is missing of the tools; then Docker when it answers, else host processes."""
    docker = wish != "process" and machine.docker_answers()
    if wish == "docker" and not docker:
        raise FailedError(f"no Docker daemon answers on {machine.DOCKER_SOCKET}")
    if os.geteuid() == 0:
        machine.install([name for name in machine.missing() if name in ROOT_NEEDS or (docker and name == "busybox-static")])
    if docker and machine.static_busybox() is None:
        console.print("Docker is here, but no static busybox to make an image of (busybox-static): pods run as processes")
        docker = False
    return "docker" if docker else "process"


def make(stack: contextlib.ExitStack, binary: Path | None, runtime: str) -> Fleet:
    """The place, the containers' network and the fleet, none of its programs started; `stack` takes it all away."""
    stack.enter_context(only_one())
    folder = stack.enter_context(temporary("edged-quickstart"))
    processes.adopt_orphans()  # a pod of the process driver outlives its daemon, but not us
    stack.callback(processes.end, processes.descendants)
    lab = stack.enter_context(Lab()) if os.geteuid() == 0 and possible() else None
    settings = {node: {"driver": runtime} for node in NODES}
    if runtime == "docker":
        from build.docker_site import docker_site  # noqa: PLC0415  most of the time of a start without Docker

        network = f"edged-{os.getpid()}"
        busybox = machine.static_busybox()
        if busybox is None:
            raise FailedError("no static busybox to make an image of (busybox-static)")
        address = stack.enter_context(docker_site(network, busybox))
        settings["gw-b"]["network"] = network
        settings["gw-a"]["network"] = "bridge"  # dockerd is not in its namespace: it would make a network for nobody
        if lab is not None:
            lab.join_bridge(PLACES["gw-b"], network, address)
    if lab is not None:
        for node in NODES:
            lab.set_resolver(PLACES[node], MESH_DNS)
    bin_ = binary.resolve() if binary else Path(sys.executable).parent
    fleet = stack.enter_context(Fleet(folder, bin_, Namespaces(lab) if lab else Loopback()))
    fleet.make(settings)
    return fleet


def tell(fleet: Fleet, runtime: str, console: Console) -> bool:
    """The story and its table; when a step fails, the reason and the last lines of each program. True when all went well."""
    progress = Progress(console)
    try:
        Story(fleet, progress, runtime=runtime, kubectl=shutil.which("kubectl") is not None).tell()
    except (FailedError, RefusedError, OSError, LookupError) as error:
        for name, log in fleet.lines.items():
            console.print(f"-- the last lines of {name}:", highlight=False)
            for line in log.read_text(errors="replace").splitlines()[-TAIL_LINES:]:
                console.print(line, markup=False, highlight=False, soft_wrap=True)
        console.print(f"[red]failed[/] {progress.current}: {told(error)}", highlight=False, soft_wrap=True)
        return False
    progress.table()
    return True


def invite(console: Console, fleet: Fleet) -> None:
    """How to go on."""
    kubectl = fleet.site.argv(
        "gw-a", ["kubectl", "--kubeconfig", fleet.kubeconfig("gw-a"), "get", "pods,devices", "-o", "wide"]
    )
    console.print("It stays up until Ctrl-C. In another terminal, for example:", highlight=False)
    console.print("  " + " ".join(kubectl), soft_wrap=True, highlight=False, markup=False)
    console.print(f"The other node's kubeconfig: {fleet.kubeconfig('gw-b')}. Logs: {fleet.folder}/*.log", soft_wrap=True)


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """One quickstart at a time on a machine: two would take each other's containers and ports."""
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind("\0edged-quickstart")  # the kernel lets it go when we end, however we end
        except OSError as error:
            raise FailedError("another quickstart is running on this machine") from error
        yield


def told(error: Exception) -> str:
    """What an error says, with the words of the program that failed."""
    words = getattr(error, "stderr", None)
    return f"{error} {words.strip()}" if isinstance(words, str) else str(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
