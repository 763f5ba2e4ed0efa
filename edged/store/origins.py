"""The names under which a store writes, and the scope of what it writes."""

from typing import NamedTuple

from edged.model.kinds import BY_RESOURCE
from edged.wire.sync import FLEET, VOLATILE


class Origins(NamedTuple):
    """The origins of one store: `id` names its file (`gw-a:5f0c91aa`), `start` counts how often it was opened, from 1.

    A sequence number belongs to one origin: no two of these share theirs.
    """

    id: str
    group: str
    start: int

    @property
    def durable(self) -> str:
        """Where the objects of the group are written."""
        return f"{self.group}/{self.id}"

    @property
    def fleet(self) -> str:
        """Where the objects of the whole fleet are written."""
        return f"{FLEET}/{self.durable}"

    @property
    def volatile(self) -> str:
        """Where what lives in memory only is written; it is of the group."""
        return f"{self.durable}{VOLATILE}{self.start}"

    def of(self, scope: str) -> str:
        """The durable origin of what is written in a scope: FLEET or the group."""
        return self.fleet if scope == FLEET else self.durable

    @property
    def all(self) -> frozenset[str]:
        """Every one of them."""
        return frozenset((self.durable, self.fleet, self.volatile))


def scope_in(group: str, resource: str) -> str:
    """The scope in which a node of a group sees and writes a resource; resources that are not known are of the group."""
    row = BY_RESOURCE.get(resource)
    return FLEET if row is not None and row.scope == "fleet" else group
