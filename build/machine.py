"""What the machine has of the programs that the suite, the quickstart and the benchmarks need; as root, gets the rest."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

DOCKER_SOCKET = Path("/var/run/docker.sock")
DOCKERD_START_S = 60.0  # a first start makes its data directory and loads kernel modules
DOCKERD_STOP_S = 30.0  # it stops its containers first, and each has 10 s
ELF_HEAD_BYTES = 4096  # linkers put the name of the dynamic loader (/lib64/ld-linux…) right behind the headers
LIBPYTHON = f"libpython3.{sys.version_info.minor}"
APT = ["apt-get", "-qq", "-y", "--no-install-recommends"]


def docker_answers() -> bool:
    """Whether a Docker daemon answers on its usual socket."""
    request = b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(DOCKER_SOCKET))
            connection.sendall(request)
            return connection.recv(12).endswith(b" 200")
    except OSError:
        return False


def static_busybox() -> Path | None:
    """A busybox that needs no libraries, so that it is a whole container image by itself."""
    for path in (Path("/bin/busybox"), Path("/usr/bin/busybox")):
        if path.is_file():
            with path.open("rb") as file:
                if b"/ld-" not in file.read(ELF_HEAD_BYTES):
                    return path
    return None


def _libpython() -> bool:
    """Whether Python is also there as a library, which PyInstaller packs; Debian has it in a package of its own."""
    name = str(sysconfig.get_config_var("INSTSONAME"))
    folders = (str(sysconfig.get_config_var("LIBDIR")), f"{sys.base_prefix}/lib")
    return name.endswith(".so.1.0") and any((Path(folder) / name).exists() for folder in folders)


def _program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name) is not None


NEEDS: dict[str, Callable[[], bool]] = {  # Debian package: whether what it is wanted for is there already
    "docker.io": lambda: docker_answers() or shutil.which("dockerd") is not None,
    "nftables": _program("nft"),
    "iproute2": _program("ip"),
    "busybox-static": lambda: static_busybox() is not None,
    "mosquitto": _program("mosquitto"),
    "redis-server": _program("redis-server"),
    "mariadb-server": _program("mariadbd"),
    "mosquitto-clients": _program("mosquitto_pub"),
    "socat": _program("socat"),
    "dnsutils": _program("dig"),
    "dbus-daemon": _program("dbus-daemon"),
    "python3-dbusmock": Path("/usr/lib/python3/dist-packages/dbusmock").is_dir,  # BlueZ's interface, without Bluetooth
    "npm": _program("npm"),  # it gets an OPC UA server that is not Python's
    "curl": _program("curl"),
    "miniupnpd-nftables": _program("miniupnpd"),
    "kubernetes-client": _program("kubectl"),
    "binutils": _program("objdump"),  # PyInstaller reads libraries with it
    LIBPYTHON: _libpython,
}


def missing() -> list[str]:
    """The packages of NEEDS that are wanted here."""
    return [package for package, there in NEEDS.items() if not there()]


def install(packages: list[str]) -> None:
    """Install packages with apt, each by itself so that one that cannot be had does not take the others with it."""
    if packages:
        _apt("update")
    for package in packages:
        print(f"installing {package} with apt-get", flush=True)
        _apt("install", package)


def _apt(*arguments: str) -> None:
    """Run apt-get; what it says is shown only when it fails."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        [*APT, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"apt-get {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}", flush=True)


@contextlib.contextmanager
def dockerd(log: Path) -> Iterator[None]:
    """A Docker daemon while the block runs: the one that answers, or as root one of our own, which is ended after it."""
    if docker_answers() or os.geteuid() != 0 or not shutil.which("dockerd"):
        yield
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        process = subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
    try:
        deadline = time.monotonic() + DOCKERD_START_S
        while process.poll() is None and time.monotonic() < deadline and not docker_answers():
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        try:
            process.wait(DOCKERD_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def end_on_signals() -> None:
    """From now on SIGTERM and SIGHUP end this program as Ctrl-C does, through every `finally`."""

    def stop(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
