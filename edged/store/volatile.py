"""Registers that live in memory only: statuses that change often and may be lost, as readings of devices.

They replicate as all others do, under origins of their own (`wire/sync.py`). Each store's registers are kept beside the
other stores', so that it does not matter in which order they come, or when a store starts again and its old ones vanish.
A durable register in the same place ends those that it beats.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from edged.store.rows import Placed
from edged.store.view import later
from edged.wire.sync import MAX_DELTA, MAX_DELTA_BYTES, Delta, Place, Register, durable, start_of

MAX_OWN = 1024  # registers of one store: the devices of a large gateway; further writes are durable
MAX_OWN_BYTES = 1 << 20  # of them
MAX_BYTES = 16 << 20  # of all stores; beyond it those of others are not kept, and their checkpoints are seen
OVERHEAD = 512  # bytes of memory for one register beyond its value


class Run(NamedTuple):
    """One start of one store: its volatile origin, and the number up to which all of it is known."""

    origin: str
    held: int


class Lay(NamedTuple):
    """A register takes the place of its store's earlier one."""

    placed: Placed


class Hold(NamedTuple):
    """Everything of `origin` up to `upto` is known. Registers of the store's earlier starts vanish."""

    origin: str
    upto: int


class Beat(NamedTuple):
    """A durable register was put in a place."""

    place: Place
    register: Register


class Drop(NamedTuple):
    """The register that the store of `origin` has in a place is over."""

    place: Place
    origin: str


Step = Lay | Hold | Beat | Drop
_UNKNOWN = Run("", 0)
_Shelf = dict[str, Placed]  # by the durable origin of the store


class _Shelves(ABC):
    """What the registers and a transaction's draft of them have in common: how a step changes them."""

    def __init__(self) -> None:
        self._shelves: dict[Place, _Shelf] = {}
        self._runs: dict[str, Run] = {}

    def shelf(self, place: Place) -> _Shelf:
        """The registers of a place, one a store."""
        return self._shelves.get(place, {})

    def best(self, place: Place) -> Placed | None:
        """The register of a place that stands against all others."""
        found: Placed | None = None
        for placed in self.shelf(place).values():
            found = later(found, placed)
        return found

    def run(self, origin: str) -> Run:
        """The latest known start of the store that has this origin."""
        return self._runs.get(durable(origin), _UNKNOWN)

    @abstractmethod
    def places(self, origin: str) -> list[Place]:
        """Where the store that has this origin has registers."""

    @abstractmethod
    def _set(self, place: Place, store: str, placed: Placed | None) -> None:
        """Put a store's register in a place, or none."""

    def take(self, step: Step) -> None:
        """Do one step."""
        match step:
            case Lay(placed):
                self._set(placed.register.place, durable(placed.register.origin), placed)
            case Hold(origin, upto):
                store = durable(origin)
                if self.run(origin).origin != origin:
                    for place in self.places(origin):
                        self._set(place, store, None)
                self._runs[store] = Run(origin, upto)
            case Drop(place, origin):
                self._set(place, durable(origin), None)
            case Beat(place, register):
                for store, placed in list(self.shelf(place).items()):
                    if register.beats(placed.register):
                        self._set(place, store, None)


class Volatile(_Shelves):
    """The volatile registers that this node has. `own` is the volatile origin of its own store."""

    def __init__(self, own: str) -> None:
        super().__init__()
        self._own = durable(own)
        self._numbers: dict[str, dict[int, Placed]] = {}  # of each store, by rising number
        self._bytes: dict[str, int] = {}
        self._total = 0
        # The first number of a later start is the start itself: others hear of it even if nothing else is written.
        self._runs[self._own] = Run(own, 1 if start_of(own) > 1 else 0)

    def own_is(self, own: str) -> None:
        """This node's own store goes on under another name."""
        self._own = durable(own)

    def held(self) -> dict[str, int]:
        """The version vector of these origins."""
        return {run.origin: run.held for run in self._runs.values() if run.held}

    def delta(self, origin: str, since: int, limit: int | None = None) -> Delta:
        """As `Store.delta`; of a start that is not the latest known there is nothing."""
        run = self.run(origin)
        if run.origin != origin:
            return Delta(origin, since, since, [])
        lacking: list[Register] = []
        for seq, placed in reversed(self._numbers.get(durable(origin), {}).items()):
            if seq <= since:
                break
            lacking.append(placed.register)
        upto, size = max(since, run.held), 0
        registers: list[Register] = []
        for register in reversed(lacking):
            size += len(register.value or b"")
            full = registers and (len(registers) == MAX_DELTA or size > MAX_DELTA_BYTES)
            if full or (limit is not None and register.clock > limit):
                upto = registers[-1].seq if registers else since
                break
            registers.append(register)
        return Delta(origin, since, upto, registers)

    def own(self) -> list[Placed]:
        """The registers of this node's own store."""
        return list(self._numbers.get(self._own, {}).values())

    def apply(self, steps: Iterable[Step]) -> None:
        """Do what a transaction drafted, once it is committed."""
        for step in steps:
            self.take(step)

    def takes(self, origin: str, place: Place, value: bytes | None, drafted: int) -> bool:
        """Whether there is room for one more register, `drafted` others being under way."""
        store, size = durable(origin), _size(value)
        before = self.shelf(place).get(store)
        size -= 0 if before is None else _size(before.register.value)
        if store != self._own:
            return self._total + size <= MAX_BYTES
        room = before is not None or len(self._numbers.get(store, {})) + drafted < MAX_OWN
        return room and self._bytes.get(store, 0) + size <= MAX_OWN_BYTES

    def places(self, origin: str) -> list[Place]:
        """Where the store that has this origin has registers."""
        return [placed.register.place for placed in self._numbers.get(durable(origin), {}).values()]

    def _set(self, place: Place, store: str, placed: Placed | None) -> None:
        shelf, numbers = self._shelves.setdefault(place, {}), self._numbers.setdefault(store, {})
        before = shelf.pop(store, None)
        if before is not None:
            del numbers[before.register.seq]
            self._weigh(store, -_size(before.register.value))
        if placed is not None:
            shelf[store] = numbers[placed.register.seq] = placed
            self._weigh(store, _size(placed.register.value))
        if not shelf:
            del self._shelves[place]

    def _weigh(self, store: str, size: int) -> None:
        self._bytes[store] = self._bytes.get(store, 0) + size
        self._total += size


class Draft(_Shelves):
    """What a transaction does to volatile registers: seen by itself at once, by others when its steps are applied."""

    def __init__(self, base: Volatile) -> None:
        super().__init__()
        self._base = base
        self._steps: list[Step] = []

    @property
    def steps(self) -> Sequence[Step]:
        """What was done, in order."""
        return self._steps

    def take(self, step: Step) -> None:
        """Do one step."""
        if isinstance(step, Beat) and not self.shelf(step.place):
            return  # nothing volatile is here, as almost everywhere
        self._steps.append(step)
        super().take(step)

    def back_to(self, count: int) -> None:
        """Undo all steps but the first `count`."""
        if len(self._steps) == count:
            return
        steps, self._steps = self._steps[:count], []
        self._shelves, self._runs = {}, {}
        for step in steps:
            self.take(step)

    def takes(self, origin: str, place: Place, value: bytes | None) -> bool:
        """Whether there is room for one more register; there is none in a start that is not the latest known."""
        return self.run(origin).origin == origin and self._base.takes(origin, place, value, len(self._steps))

    def own(self) -> list[Placed]:
        """The registers of this node's own store before this transaction."""
        return self._base.own()

    def shelf(self, place: Place) -> _Shelf:
        """The registers of a place, one a store."""
        found = self._shelves.get(place)
        return self._base.shelf(place) if found is None else found

    def run(self, origin: str) -> Run:
        """The latest known start of the store that has this origin."""
        return self._runs.get(durable(origin)) or self._base.run(origin)

    def places(self, origin: str) -> list[Place]:
        """Where the store that has this origin has registers."""
        store = durable(origin)
        places = dict.fromkeys([*self._base.places(origin), *self._shelves])
        return [place for place in places if store in self.shelf(place)]

    def _set(self, place: Place, store: str, placed: Placed | None) -> None:
        shelf = self._shelves.setdefault(place, dict(self._base.shelf(place)))
        shelf.pop(store, None)
        if placed is not None:
            shelf[store] = placed


def _size(value: bytes | None) -> int:
    return len(value or b"") + OVERHEAD
