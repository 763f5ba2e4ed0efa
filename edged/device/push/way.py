"""One way out: takes reports from the journal, and brings their parcels to one target, in order, until it has them. A shell.

A batch that is refused is halved until the parcel is found that the target does not take; that one is tried for about a
minute, then skipped and counted, so that it never holds up the others for good. A target that is away, or refuses us
whatever we send, holds up everything: the journal keeps it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import NamedTuple

import trio

from edged.device.history.journal import Journal
from edged.device.history.reports import Report
from edged.device.push.parcels import Parcel, Route, Sender, Target, size
from edged.device.push.routes import Property
from edged.device.readings import Reading
from edged.errors import DeniedError, InvalidError, StorageError, UnreachableError
from edged.kit.backoff import Backoff
from edged.kit.log import Log

BATCH = 256  # parcels sent together
BATCH_BYTES = 256 << 10  # of them together: web servers take a megabyte, as a rule
RETRY_FIRST_S, RETRY_CAP_S = 0.2, 3.0  # a target that is back has what waits for it within seconds
REFUSED_FIRST_S, REFUSED_CAP_S = 0.5, 30.0  # a target that refuses us, or a parcel
TRIES = 8  # of one parcel that is refused: about a minute
PATIENCE_S = 5.0  # a target that is away for less is no news
SEND_S = 120.0  # for a batch; the senders have shorter limits of their own for each answer
READ_AGAIN_S = 5.0  # a history that cannot be read

Open = Callable[[], AbstractAsyncContextManager[Sender]]  # raises as `Sender.send`, but for InvalidError
Tell = Callable[[], None]  # `trouble` of a way is another
Skipped = Callable[[Parcel, str], None]  # a parcel that was given up, and why


class Counts(NamedTuple):
    """Since the start: parcels the target has, parcels given up, and readings it did not take."""

    sent: int
    skipped: int
    rejected: int


class Way:
    """The way to one target. `routes` may be replaced at any time."""

    def __init__(
        self, target: Target, routes: Mapping[Property, Route], journal: Journal, open_: Open, random: Random, log: Log,
        tell: Tell, skipped: Skipped,
    ) -> None:  # fmt: skip
        self.target, self.routes = target, routes
        self.trouble = ""  # what keeps parcels from the target, in words
        self._name = str(target)
        self._journal, self._open, self._log, self._tell, self._skip = journal, open_, log, tell, skipped
        self._away = Backoff(RETRY_FIRST_S, RETRY_CAP_S, random)
        self._refused = Backoff(REFUSED_FIRST_S, REFUSED_CAP_S, random)
        self._since: float | None = None  # when the target was last well
        self._pending: list[Parcel] = []
        self._upto = 0  # the last report of which there are parcels pending
        self._sent = self._skipped = self._rejected = 0

    @property
    def counts(self) -> Counts:
        """What was counted."""
        return Counts(self._sent, self._skipped, self._rejected)

    async def run(self) -> None:
        """Until cancelled. The target is asked when there is something for it, and its connection kept."""
        await self._next()
        while True:
            try:
                async with self._open() as sender:
                    while True:
                        await self._deliver(sender)
                        await self._next()
            except (UnreachableError, DeniedError) as error:
                await self._wait(error)

    async def _next(self) -> None:
        """Wait for parcels; reports that have none for this target are had at once."""
        while not self._pending:
            try:
                reports = await self._journal.after(self._journal.ways.get(self._name, 0), BATCH)
            except StorageError as error:
                self._log.error(f"{error}; trying again every {READ_AGAIN_S:g} s")
                await trio.sleep(READ_AGAIN_S)
                continue
            self._pending, self._upto = list(self._parcels(reports)), reports[-1].id
            if not self._pending:
                self._journal.acknowledge(self._name, self._upto)

    def _parcels(self, reports: Sequence[Report]) -> Iterator[Parcel]:
        for report in reports:
            ways: dict[Route, list[Reading]] = {}
            same: Route | None = None  # as the reading before: most of a device go one way
            together: list[Reading] = []
            for reading in report.readings:
                route = self.routes.get((report.namespace, report.device, reading.property))
                if route is None:
                    continue
                if route is not same:
                    same, together = route, ways.setdefault(route, [])
                together.append(reading)
            for route, readings in ways.items():
                yield Parcel(report.id, report.namespace, report.device, route, tuple(readings))

    async def _deliver(self, sender: Sender) -> None:
        """Bring all that is pending to the target, but for what it refuses one by one."""
        most, tries = BATCH, 0
        while self._pending:
            batch = first(self._pending, most)
            try:
                self._rejected += await self._send(sender, batch)
                self._sent += len(batch)
            except InvalidError as error:
                if len(batch) > 1:
                    most = len(batch) // 2
                    continue
                tries += 1
                if tries < TRIES:
                    await self._wait(error)
                    continue
                self._skipped += 1
                self._log.error(f"a report of {batch[0].namespace}/{batch[0].device} is given up: {error}")
                self._skip(batch[0], str(error))
            del self._pending[: len(batch)]
            most, tries = min(BATCH, most * 2), 0
            self._well()
        self._journal.acknowledge(self._name, self._upto)

    async def _send(self, sender: Sender, batch: Sequence[Parcel]) -> int:
        try:
            with trio.fail_after(SEND_S):
                return await sender.send(batch)
        except trio.TooSlowError as error:
            raise UnreachableError(f"{self._name} does not take {len(batch)} reports within {SEND_S:g} s") from error

    async def _wait(self, error: UnreachableError | DeniedError | InvalidError) -> None:
        now = trio.current_time()
        self._since = now if self._since is None else self._since
        if not isinstance(error, UnreachableError) or now - self._since >= PATIENCE_S:
            if not self.trouble:
                self._log.warning(f"{error}; what is for it is kept, and tried again until it takes it")
            if self.trouble != str(error):
                self.trouble = str(error)
                self._tell()
        await trio.sleep((self._away if isinstance(error, UnreachableError) else self._refused).next())

    def _well(self) -> None:
        self._away.reset()
        self._refused.reset()
        self._since = None
        if self.trouble:
            self.trouble = ""
            self._log.info(f"{self._name} takes readings again")
            self._tell()


def first(parcels: Sequence[Parcel], most: int) -> Sequence[Parcel]:
    """The first of these that go together: at most so many, of BATCH_BYTES in all; one at least."""
    total = 0
    for at, parcel in enumerate(parcels[:most]):
        total += size(parcel)
        if at and total > BATCH_BYTES:
            return parcels[:at]
    return parcels[:most]
