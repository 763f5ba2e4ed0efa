"""A bounded queue whose policy when full is to drop the oldest: for datagrams, where late is worse than lost."""

from collections import deque
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class DropOldest(Generic[T]):
    """Holds at most `limit` items; `put` never waits and never fails. `dropped` counts what was pushed out.

    Several items that wait together are taken together: the reader batches for free.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"a queue of {limit} items: expected at least 1")
        self._items: deque[T] = deque(maxlen=limit)
        self._some = trio.Event()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Append; when full the oldest item goes."""
        if len(self._items) == self._items.maxlen:
            self.dropped += 1
        self._items.append(item)
        self._some.set()

    async def take(self, most: int) -> list[T]:
        """Wait until there is something, then take up to `most` items, oldest first."""
        while not self._items:
            self._some = trio.Event()
            await self._some.wait()
        return [self._items.popleft() for _ in range(min(most, len(self._items)))]
