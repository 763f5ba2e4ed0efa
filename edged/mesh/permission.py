"""What another node may reach here: pods of this node. Pure.

By the name of a service, ready ones at the ports that it declares; by its own address, which is a container's, a pod at any
port. Nothing of the host, and nothing of other nodes.
"""

from functools import lru_cache
from ipaddress import IPv4Address

from edged.mesh.addresses import alias
from edged.mesh.names import Name
from edged.mesh.table import Endpoint, Port, Table
from edged.model.endpoints import PORTS
from edged.model.ranges import range_of
from edged.wire.peer import Flow, Tunnel

MAX_JUDGED = 1024  # addresses whose judgement is remembered: a call asks for one, and a node has some 100 pods
LOCALHOST = IPv4Address("127.0.0.1")  # process pods have other addresses of 127.0.0.0/8; here the machine's own programs listen


def permitted(table: Table, peer: str, asked: Tunnel | Flow) -> Endpoint | None:
    """The endpoint that `peer` (NAME, GROUP/NAME abroad) asks for; None when it may not have it, or it is not there."""
    if not asked.service:
        return _itself(table, peer, asked)
    protocol = "TCP" if isinstance(asked, Tunnel) else "UDP"
    entry = table.entries.get(Name(asked.namespace, asked.service))
    served = entry.ports.get(Port(protocol, asked.port)) if entry is not None else None
    if entry is None or served is None or ("/" in peer and not entry.exported):
        return None
    if entry.allow is not None and not entry.allow.passes(peer, asked.caller):
        return None
    found = next((each for each in served.endpoints if each.pod == asked.pod and each.node == table.node), None)
    return found if found is not None and _is_pods(found.ip) else None


def source(table: Table, peer: str, asked: Tunnel | Flow, endpoint: Endpoint) -> str:
    """From where to dial the endpoint, so that it sees the pod of `peer` that calls: its alias. "": from anywhere.

    Only an endpoint in the pod network has a way back there, by this node: not to its own range, where two nodes had the same.
    """
    network, caller = table.pods.network, table.pods.at.get(asked.source)
    if network is None or caller is None or caller.node != peer or not table.pods.covers(endpoint.ip):
        return ""
    return alias(asked.source, network) if range_of(asked.source) != range_of(endpoint.ip) else ""


def _itself(table: Table, peer: str, asked: Tunnel | Flow) -> Endpoint | None:
    """A pod that is called by its address, by a node of this group."""
    pod = table.pods.named.get((asked.namespace, asked.pod))
    if pod is None or pod.node != table.node or "/" in peer or asked.port not in PORTS:
        return None
    return Endpoint(pod.name, pod.node, pod.ip, asked.port) if pod.admits(peer, asked.caller) else None


@lru_cache(MAX_JUDGED)
def _is_pods(text: str) -> bool:
    """Whether a pod may have this address. A status that says otherwise is somebody's trap: metadata services, ourselves."""
    address = IPv4Address(text)
    return not (address == LOCALHOST or address.is_link_local or address.is_multicast or address.is_unspecified)
