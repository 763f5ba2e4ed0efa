"""What resolvers said, kept as long as they allow, and longer while they are away (RFC 2308, 8767, 9520)."""

from collections import OrderedDict
from typing import NamedTuple

from edged.mesh import message
from edged.mesh.message import NOERROR, NXDOMAIN, Query, Survey

MAX_ENTRIES = 4096  # names that a gateway's programs ask for are some hundreds; what was not used for longest goes
MAX_BYTES = 2 << 20  # of responses: 4,096 of usual size, or 32 of the largest
MIN_TTL_S = 1  # what may be kept for less is given to those who asked together, and not kept
MAX_TTL_S = 3600  # a name that moved is followed within an hour, whatever was promised
MAX_NEGATIVE_S = 300  # what was not there and is made is found within five minutes
MAX_STALE_S = 3 * 86400  # past its time: a weekend without uplink (RFC 8767 5 suggests one to three days)
STALE_TTL_S = 30  # of what is past its time (RFC 8767 4)
RETRY_S = 5.0  # a question that nobody answered is not passed on again before (RFC 9520 3.2 asks for 1 s at least)
MAX_FAILED = 1024  # questions remembered as such; when full the one that failed first is forgotten


class Found(NamedTuple):
    """A response as it is now; not `fresh` when it is past its time."""

    response: bytes
    fresh: bool


class _Entry(NamedTuple):
    response: bytes
    ttls: tuple[int, ...]
    since: float
    until: float


class Cache:
    """Responses by what was asked."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._failed: dict[bytes, float] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float) -> Found | None:
        """What is kept under `key`, at the time `now` in seconds."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry.until + MAX_STALE_S:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        fresh = now < entry.until
        most = MAX_TTL_S if fresh else STALE_TTL_S
        if not fresh:  # what is left of it would be 0: clients shall ask again soon, and not at once
            return Found(message.aged(entry.response, entry.ttls, 0, most), fresh)
        return Found(message.aged(entry.response, entry.ttls, int(now - entry.since), most), fresh)

    def put(self, key: bytes, response: bytes, found: Survey, now: float) -> None:
        """Keep `response`, of which `found` is known, when it may be kept."""
        self._failed.pop(key, None)
        seconds = _lifetime(response, found)
        if seconds < MIN_TTL_S or len(response) > MAX_BYTES:
            return
        self._drop(key)
        self._entries[key] = _Entry(response, found.ttls, now, now + seconds)
        self.bytes += len(response)
        while len(self._entries) > MAX_ENTRIES or self.bytes > MAX_BYTES:
            self._drop(next(iter(self._entries)))

    def failed(self, key: bytes, now: float) -> None:
        """Nobody answered this question."""
        self._failed.pop(key, None)
        if len(self._failed) >= MAX_FAILED:
            del self._failed[next(iter(self._failed))]
        self._failed[key] = now

    def failed_lately(self, key: bytes, now: float) -> bool:
        """Whether to leave the resolvers alone with this question for now."""
        return now - self._failed.get(key, float("-inf")) < RETRY_S

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= len(entry.response)


def key_of(query: Query) -> bytes:
    """What makes two questions the same: name, type, and what is asked of signatures."""
    flags = query.flags & (message.AD | message.CD) | int(query.dnssec)
    return query.key + bytes([flags]) + query.type.to_bytes(2, "big")


def _lifetime(response: bytes, found: Survey) -> int:
    """Seconds for which a response may be kept; 0: not at all."""
    code = response[3] & message.RCODE
    if code == NOERROR and found.answers:
        return min(found.least or 0, MAX_TTL_S)
    if code in (NOERROR, NXDOMAIN) and found.negative is not None:
        return min(found.negative, MAX_NEGATIVE_S)
    return 0
