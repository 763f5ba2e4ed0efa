"""Faults to plant into a group, which the simulation has to find: `python -m tests.sim.planted [NUMBER [FIRST COUNT]]`.

Without arguments each fault is looked for with the seeds that caught it before, then with others, and a line says what came
of it. With the number of a fault all those of COUNT seeds that catch it are told: of a hundred, at least five are to.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec
import trio

from edged.control import devices, failover
from edged.device import worker
from edged.store import volatile
from edged.store.table import Table
from edged.sync import upkeep
from edged.sync.clock import Clock
from edged.sync.leases import Leases
from edged.sync.session import Session
from edged.wire.sync import Delta, Register, durable

from .run import first_of, tell
from .tales import schedule
from .world import play

SEARCHED = 100  # seeds, when those that caught a fault before do not any more

Change = tuple[Any, str, Callable[[Any], Any]]  # of what, which attribute, and what makes the other one of the one


class Fault(NamedTuple):
    """What is broken, how, and seeds that catch it: some, as a change of anything may turn a tale to another end."""

    what: str
    seeds: Sequence[int]
    changes: Sequence[Change]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Inside, it is so."""
        with ExitStack() as stack:
            for owner, name, make in self.changes:
                stack.enter_context(patch.object(owner, name, make(getattr(owner, name))))
            yield

    def caught_by(self, seeds: Sequence[int]) -> Iterator[tuple[int, str]]:
        """The seeds whose schedules fail with it, and how."""
        with self.planted():
            for seed in seeds:
                size, ops = schedule(Random(seed))
                try:
                    play(size, ops, seed)
                except BaseExceptionGroup as error:
                    yield seed, first_of(error)


def _impatient(before: Callable[..., None]) -> Callable[..., None]:
    def begin(self: Leases, *args: Any, **kwargs: Any) -> None:
        before(self, *args, **kwargs)
        self._may_claim = kwargs["now"]

    return begin


def _stubborn(before: property) -> property:
    def holder(self: Leases) -> str | None:
        return self.node if self._claim else before.fget(self)  # type: ignore[misc]

    return property(holder)


def _cut_short(before: Callable[..., Delta]) -> Callable[..., Delta]:
    def delta(self: Table, origin: str, since: int, limit: int | None = None) -> Delta:
        found = before(self, origin, since, limit)
        return found if len(found.registers) < 3 else msgspec.structs.replace(found, registers=found.registers[:-1])

    return delta


def _kept(before: Callable[..., None]) -> Callable[..., None]:
    def take(self: volatile._Shelves, step: volatile.Step) -> None:
        if isinstance(step, volatile.Hold):
            self._runs[durable(step.origin)] = volatile.Run(step.origin, step.upto)
        else:
            before(self, step)

    return take


def _left(before: Callable[..., float | None]) -> Callable[..., float | None]:
    def due(each: devices.Placed, hosts: devices.Hosts, group: failover.Group, lost: float | None) -> float | None:
        return before(each, hosts, group, lost) if lost is None else None

    return due


FAULTS = (
    Fault("every side has the quorum", (13, 21, 43, 44), [(failover, "has_quorum", lambda _: lambda *_: True)]),
    Fault("the lease is taken without waiting to hear who has it", (18, 36, 64, 66), [(Leases, "__init__", _impatient)]),
    Fault("a deposed leader goes on", (1, 2, 3, 4), [(Leases, "holder", _stubborn)]),
    Fault(
        "a tombstone is forgotten at once, and no floor says so",
        (2, 8, 16, 23),
        [
            (upkeep, "FORGET_S", lambda _: 1.0),
            (upkeep, "TOMBSTONES_S", lambda _: 0.0),
            (Table, "raise_floor", lambda _: lambda *_: None),
        ],
    ),
    Fault(
        "`never` is treated as `always`",
        (18, 21, 34, 51),
        [(failover, "rule", lambda before: lambda *args: before(*args).replace("never", "always"))],
    ),
    Fault("a delta ends before what it says", (1, 2, 3, 5), [(Table, "delta", _cut_short)]),
    Fault(
        "the median of the clocks is ignored",
        (0, 5, 6, 17),
        [(Clock, "agreed", lambda _: lambda self, without="": self.wall())],
    ),
    Fault("readings of an earlier start are kept", (1, 24, 40, 53), [(volatile._Shelves, "take", _kept)]),
    Fault("floors are ignored", (2, 8, 23, 25), [(Session, "stale", lambda _: lambda *_: False)]),
    Fault(
        "a merge keeps the loser", (0, 1, 2, 3), [(Register, "beats", lambda _: lambda self, other: self.clock < other.clock)]
    ),
    Fault(
        "a device that another node serves by now is served on",
        (3, 11, 12, 44),
        [(worker._Running, "scope", lambda _: property(lambda _: trio.CancelScope()))],
    ),
    Fault("a device stays with a lost node", (12, 34, 60, 71), [(devices, "_due", _left)]),
    Fault("patience is over at once", (2, 3, 11, 12), [(failover, "DEFAULT_TOLERATION_S", lambda _: 0)]),
)


def main(arguments: Sequence[str]) -> None:
    if arguments:
        number, first, count = map(int, (*arguments, "0", "100")[:3])
        for seed, how in FAULTS[number].caught_by(range(first, first + count)):
            tell(f"{seed}: {how[:200]}")
        return
    for fault in FAULTS:
        seed, how = next(fault.caught_by((*fault.seeds, *range(SEARCHED))), (None, "not caught"))
        tell(f"{fault.what}: {'not caught' if seed is None else f'caught by {seed}: {how[:200]}'}")


if __name__ == "__main__":
    main(sys.argv[1:])
