"""Tells the service manager how the daemon fares: sd_notify(3), one datagram to NOTIFY_SOCKET. A shell."""

import socket
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"


def notify(state: str, environ: Mapping[str, str]) -> bool:
    """Send `state` ("READY=1", "STATUS=…") to the socket that `environ` names; False when nobody listens.

    Never fails: a service manager that is away must not stop the service.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # an abstract socket: its name begins with a zero byte
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto(state.encode(), address)
    except OSError:
        return False
    return True
