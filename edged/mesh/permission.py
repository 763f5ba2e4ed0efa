"""What another node may reach here: ready pods of this node, at the ports that a service declares, and nothing else. Pure."""

from ipaddress import IPv4Address

from edged.mesh.names import Name
from edged.mesh.table import Endpoint, Port, Table
from edged.wire.peer import Flow, Tunnel

LOCALHOST = IPv4Address("127.0.0.1")  # process pods have other addresses of 127.0.0.0/8; here the machine's own programs listen


def permitted(table: Table, peer: str, asked: Tunnel | Flow) -> Endpoint | None:
    """The endpoint that `peer` (NAME, GROUP/NAME abroad) asks for; None when it may not have it, or it is not there."""
    protocol = "TCP" if isinstance(asked, Tunnel) else "UDP"
    entry = table.entries.get(Name(asked.namespace, asked.service))
    served = entry.ports.get(Port(protocol, asked.port)) if entry is not None else None
    if entry is None or served is None or ("/" in peer and not entry.exported):
        return None
    if entry.allow is not None and not entry.allow.passes(peer, asked.caller):
        return None
    found = next((each for each in served.endpoints if each.pod == asked.pod and each.node == table.node), None)
    return found if found is not None and _is_pods(found.ip) else None


def _is_pods(text: str) -> bool:
    """Whether a pod may have this address. A status that says otherwise is somebody's trap: metadata services, ourselves."""
    address = IPv4Address(text)
    return not (address == LOCALHOST or address.is_link_local or address.is_multicast or address.is_unspecified)
