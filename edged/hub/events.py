"""What a link tells whoever owns it (link.py)."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Up:
    """The peer is proved. `probe_key` authenticates probes of this link."""

    peer: str
    probe_key: bytes


@dataclass(frozen=True, slots=True)
class Down:
    """The link is over; nothing comes after this."""

    reason: str


@dataclass(frozen=True, slots=True)
class Named:
    """Datagrams for this connection id are the link's (or no more)."""

    connection_id: bytes
    added: bool


@dataclass(frozen=True, slots=True)
class Told:
    """The peer told the addresses at which it may be reached, and whether it wants to keep the link."""

    addresses: list[str]
    wanted: bool


@dataclass(frozen=True, slots=True)
class Called:
    """The peer has opened its NATs for all our addresses, and waits for our probes; at `ports` ports of a hard one, if any."""

    ports: int = 0


@dataclass(slots=True)
class Data:
    """Bytes arrived on a stream, in pieces; `first` when the peer has just opened it, `end` when no more will come."""

    stream: int
    first: bool
    pieces: list[bytes] = field(default_factory=list)
    end: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """The peer gave up sending on a stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """The peer reads no more of a stream."""

    stream: int


Event = Up | Down | Named | Told | Called | Data | Reset | Stopped
