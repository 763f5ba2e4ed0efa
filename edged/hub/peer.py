"""What is known of another node, as far as links are concerned."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from edged.hub.connection import Connection
from edged.kit.address import Address


@dataclass(slots=True, eq=False)
class Peer:
    """A node that we know of: configured, announced by the relay (`session`), by its beacon, linked before, or linking itself.

    `announced`: the relay reaches it, or did before the relay itself went away. `wanted`: a link to it is to be kept.
    `callers` wait for one for a while. `failure` says why the last dial failed; it is empty while there is a link or none
    was tried since.
    """

    name: str
    configured: Sequence[str]
    wanted: bool
    session: int | None = None
    announced: bool = False
    resolved: Sequence[Address] = ()  # of the configured addresses, when it was dialled last
    connection: Connection | None = None
    since: float = 0.0
    callers: int = 0
    failure: str = ""
    rested: float = 0.0  # when a caller may have it dialled again
    changed: trio.Event = field(default_factory=trio.Event)
    keeping: trio.CancelScope = field(default_factory=trio.CancelScope)  # who keeps it linked, until it is forgotten

    @property
    def neighbour(self) -> bool:
        """Whether there is a link that one of both ends wants to keep."""
        return self.connection is not None and (self.wanted or self.connection.wanted is True)

    def change(self) -> None:
        """Wake whoever waits for this peer."""
        self.changed.set()
        self.changed = trio.Event()
