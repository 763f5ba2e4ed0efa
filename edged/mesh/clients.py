"""Who may ask this node's DNS server: the node itself, and its containers."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from edged.kit.interfaces import networks

INTERFACES = Path("/sys/class/net")
LOOK_S = 1.0  # between two looks at the interfaces, when a stranger asks: Docker makes networks while we run
TRUST_S = 60.0  # so long an address is known before the interfaces are looked at again
MAX_KNOWN = 4096  # addresses of clients remembered; when full all are looked up again


class Clients:
    """Tells whether an address is this node's, or in the network of a bridge that leads to no other machine.

    That is what Docker's networks are. A packet from elsewhere may reach our address too, since Linux takes it on any
    interface; who lies about its address there is answered to the address that it gave, which is in this machine.
    """

    def __init__(self, interfaces: Path = INTERFACES) -> None:
        self._interfaces = interfaces
        self._known: dict[str, bool] = {}
        self._networks: list[IPv4Network] = []
        self._looked = float("-inf")
        self._began = float("-inf")

    def allows(self, host: str, now: float) -> bool:
        """Whether `host`, an IPv4 address, may ask at the time `now` in seconds."""
        if now - self._began > TRUST_S or len(self._known) >= MAX_KNOWN:
            self._known, self._began = {}, now
        if self._known.get(host):
            return True
        if now - self._looked >= LOOK_S:
            self._looked = now
            with suppress(OSError):  # the kernel is short of memory: what was known holds
                self._networks = allowed(networks(), inner_bridges(self._interfaces))
        elif host in self._known:
            return False
        self._known[host] = any(IPv4Address(host) in network for network in self._networks)
        return self._known[host]


def allowed(found: Mapping[str, Iterable[IPv4Interface]], inner: Iterable[str]) -> list[IPv4Network]:
    """The networks of those who may ask, of the addresses by interface: every address itself, and all behind `inner` ones."""
    own = [IPv4Network(each.ip) for addresses in found.values() for each in addresses]
    return [IPv4Network("127.0.0.0/8"), *own, *(each.network for name in inner for each in found.get(name, ()))]


def inner_bridges(interfaces: Path = INTERFACES) -> list[str]:
    """The bridges none of whose ports is a device of the machine."""
    bridges = (each.parent for each in interfaces.glob("*/bridge"))
    return [
        each.name for each in bridges if not any((interfaces / port.name / "device").exists() for port in each.glob("brif/*"))
    ]
