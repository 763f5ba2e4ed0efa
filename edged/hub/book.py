"""Direct addresses of nodes beyond the configured ones: where links ran, kept over restarts, and where beacons came from."""

from collections.abc import Callable, Iterable

import msgspec

from edged.errors import InvalidError
from edged.identity.certificates import NAME
from edged.kit.address import Address

VERSION = 1
MAX_PROVED = 3  # addresses of a node by which links ran: wired, wireless, and the one before a move
MAX_HEARD = 3  # addresses of a node from which its beacons came; apart from the proved ones, which a replay cannot push out
MAX_NODES = 1024  # with proved addresses; the one seen longest ago goes
MAX_BLAMES = 3  # times that another than the node answered at an address before it is not tried again
MAX_BOOK = 512 << 10  # bytes of the file: MAX_NODES with the longest names are 250 kB
FORGET_DAYS = 30  # a node not linked for so long, while others were, has left; as long as tombstones are kept
DAY_S = 86400


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    """`day` of the epoch on which the last link ran; addresses, the newest first."""

    day: int
    addresses: list[str]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    of: str
    nodes: dict[str, _Entry]


class Book:
    """Of the group `of` (fleet and group). `usable` tells which of an entry's texts may be dialled here."""

    def __init__(self, of: str, usable: Callable[[Iterable[str]], list[Address]]) -> None:
        self._of, self._usable = of, usable
        self._proved: dict[str, tuple[int, list[Address]]] = {}  # node: (day, newest first); nodes seen longest ago first
        self._heard: dict[str, list[Address]] = {}
        self._blames: dict[str, dict[Address, int]] = {}  # of addresses that are in one of the two above
        self.news = False  # whether there is something that the file does not say

    def names(self) -> list[str]:
        """The nodes to which links ran."""
        return list(self._proved)

    def addresses(self, node: str) -> list[Address]:
        """Where to try: where its beacons came from, then where links ran, the newest first."""
        blames = self._blames.get(node, {})
        return [address for address in self._all(node) if blames.get(address, 0) < MAX_BLAMES]

    def proved(self, node: str, address: Address, wall: float) -> None:
        """A link to the node runs by this address."""
        day, before = self._proved.pop(node, (0, []))
        after = [address, *(other for other in before if other != address)][:MAX_PROVED]
        today = int(wall // DAY_S)
        self.news = self.news or after != before or today != day
        if len(self._proved) >= MAX_NODES:
            del self._proved[next(iter(self._proved))]
        self._proved[node] = today, after
        self._absolve(node, address)

    def heard(self, node: str, address: Address) -> bool:
        """A proved beacon of the node came from there. Whether that is news. The caller bounds the nodes."""
        before = self._heard.get(node, [])
        self._heard[node] = [address, *(other for other in before if other != address)][:MAX_HEARD]
        self._absolve(node, address)
        return address not in before

    def has_heard(self, node: str, address: Address) -> bool:
        """Whether a beacon of the node from there would be no news."""
        return address in self._heard.get(node, ()) and address not in self._blames.get(node, ())

    def blame(self, node: str, address: Address) -> None:
        """Someone else answered there. It stays in the file: perhaps it is our clock that calls a certificate invalid."""
        if address in self._all(node):
            blames = self._blames.setdefault(node, {})
            blames[address] = blames.get(address, 0) + 1

    def _all(self, node: str) -> list[Address]:
        _, proved = self._proved.get(node, (0, []))
        return list(dict.fromkeys([*self._heard.get(node, ()), *proved]))

    def _absolve(self, node: str, address: Address) -> None:
        """The node is at this address again; blames of addresses that are no longer here go as well."""
        kept = set(self._all(node)) - {address}
        blames = {other: count for other, count in self._blames.pop(node, {}).items() if other in kept}
        if blames:
            self._blames[node] = blames

    def dump(self) -> bytes:
        """The file; `news` is False from here on."""
        self.news = False
        nodes = {node: _Entry(day, [str(address) for address in found]) for node, (day, found) in self._proved.items()}
        return msgspec.json.format(msgspec.json.encode(_File(VERSION, self._of, nodes)), indent=1) + b"\n"

    def load(self, data: bytes) -> None:
        """Take what a file of this group says; another group's is as good as none. InvalidError when it is damaged."""
        if len(data) > MAX_BOOK:
            raise InvalidError(f"{len(data)} bytes, at most {MAX_BOOK} are taken")
        try:
            file = msgspec.json.decode(data, type=_File)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise InvalidError(str(error)) from error
        if file.version != VERSION or not all(NAME.fullmatch(node) for node in file.nodes):
            raise InvalidError(f"not of version {VERSION}, or with names that no node has")
        if file.of != self._of:
            return
        newest = max((entry.day for entry in file.nodes.values()), default=0)
        for node, entry in sorted(file.nodes.items(), key=lambda item: item[1].day)[-MAX_NODES:]:
            addresses = self._usable(entry.addresses)[:MAX_PROVED]
            if addresses and entry.day > newest - FORGET_DAYS:
                self._proved[node] = entry.day, addresses
