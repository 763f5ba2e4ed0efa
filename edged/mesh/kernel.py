"""What a node with root puts into the host: the bridge `edged0`, routes to addresses of services and pods, our nftables table.

`edged0` carries the address of the DNS server and the proxy. ip(8) and nft(8) do the work.
"""

import socket
import subprocess
from ipaddress import IPv4Network

import trio

from edged.errors import UnreachableError
from edged.mesh import rules
from edged.mesh.addresses import NETWORK, aliases

INTERFACE = "edged0"
ADDRESS = "169.254.96.16"
# Bytes of the segments of TCP that we ask of who answers: all that lo carries. The interface's 1,460 would cost a call to a pod
# of this node a sixth more, and who answers by another interface knows what that one carries.
SEGMENT = "65495"
COMMAND_S = 10.0  # nft takes 30 ms for 5,000 services; a kernel that hangs must not hang the daemon


async def set_up(pods: IPv4Network | None = None) -> None:
    """Make the interface, or bring one that a killed daemon left into shape. `pods` is the network of pods' addresses.

    UnreachableError when the host does not let us.
    """
    lines = [] if _interface_exists() else [f"link add {INTERFACE} type bridge"]
    way = f"dev {INTERFACE} src {ADDRESS} advmss {SEGMENT}"
    lines += [
        f"address replace {ADDRESS}/32 dev {INTERFACE}",
        f"link set {INTERFACE} up",
        # Without a route a connection of this host fails before any rule sees it; the rules send it on to ADDRESS.
        f"route replace {NETWORK} {way}",
    ]
    if pods is not None:  # the range of this node has a route of its own, by its bridge
        lines += [f"route replace {pods} {way}", f"route replace local {aliases(pods)} dev {INTERFACE} table local"]
    # One program for all: until they are there no call of this host gets through, and a program takes longer than what it does.
    await command("ip", "-batch", "-", given="\n".join([*lines, ""]).encode())


async def apply(transaction: str) -> None:
    """Apply all of `transaction` or nothing of it. UnreachableError when nft is missing or the kernel refuses."""
    await command("nft", "-f", "-", given=transaction.encode())


async def clean_up() -> None:
    """Remove our table and interface (with it go its address and routes). Nothing happens when they are gone already."""
    try:
        await apply(rules.removal())
    finally:
        if _interface_exists():
            await command("ip", "link", "delete", INTERFACE)


def _interface_exists() -> bool:
    try:
        socket.if_nametoindex(INTERFACE)
    except OSError:
        return False
    return True


async def command(*argv: str, given: bytes = b"") -> bytes:
    """What `argv` prints, with `given` on its stdin. UnreachableError when it is missing, fails or takes too long."""
    try:
        with trio.fail_after(COMMAND_S):
            done = await trio.run_process(argv, stdin=given, capture_stdout=True, capture_stderr=True, check=False)
    except trio.TooSlowError as error:
        raise UnreachableError(f"{argv[0]} did not end in {COMMAND_S:g} s") from error
    except OSError as error:
        raise UnreachableError(f"{argv[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).decode(errors="replace").split())
        raise UnreachableError(f"{subprocess.list2cmdline(argv)}: {said[:500] or f'exit {done.returncode}'}")
    return done.stdout
