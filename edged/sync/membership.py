"""Who is there: this node and those it is linked to; and which of them leads. Leases will refine it."""

from collections.abc import Awaitable, Callable


class Membership:
    """The nodes of the group that this node sees: itself, and every peer with a live link.

    `linked` and `changed` come from the hub; `changed(before)` waits until the set is another one.
    """

    def __init__(
        self,
        node: str,
        linked: Callable[[], frozenset[str]],
        changed: Callable[[frozenset[str]], Awaitable[frozenset[str]]],
    ) -> None:
        self.node = node
        self._linked, self._changed = linked, changed

    @property
    def linked(self) -> frozenset[str]:
        """The peers with a live link."""
        return self._linked()

    @property
    def members(self) -> frozenset[str]:
        """This node and its linked peers."""
        return self.linked | {self.node}

    @property
    def leads(self) -> bool:
        """Whether this node runs the controllers: of those that it sees, it has the first name.

        Two nodes that do not see each other may both lead: what controllers make has deterministic names, so a merge
        leaves one of each.
        """
        return self.node == min(self.members)

    async def changed(self, before: frozenset[str]) -> frozenset[str]:
        """Wait until the linked peers are no longer `before`; returns them."""
        return await self._changed(before)
