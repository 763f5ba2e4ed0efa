"""One device that is read here: a task that talks to it; its reporter's is another, over the same twin. A shell."""

import math
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any

import trio

from edged.device.calls import Call
from edged.device.mapper import Calls, Found, Point, PropertyError, Sample, Session
from edged.device.reporter import Reporter
from edged.device.timer import Bell
from edged.device.twin import Read, Write
from edged.device.wiring import Wiring
from edged.errors import EdgedError, InvalidError, ProtocolError, UnreachableError
from edged.kit.backoff import Backoff
from edged.kit.supervise import first
from edged.model.meta import JSON
from edged.model.values import to_text

RETRY_FIRST_S, RETRY_CAP_S = 0.5, 30.0  # a device that is away or answers nonsense
CLOSE_S = 2.0  # a connection that cannot be closed in this time is dropped
MAX_CALLS = 8  # that wait for a device: each is a request of a person, who waits CALL_S
CALL_S = 8.0  # for a call to be done: less than a node gives another for its answer


class Poller:
    """Polls one device until it is cancelled."""

    def __init__(self, reporter: Reporter, random: Random) -> None:
        self._reporter, self._twin = reporter, reporter.twin
        self._wall, self._random, self._log = reporter.wall, random, reporter.log
        self._to_talk = Bell(reporter.timer)
        self._trouble = False
        self._calls: deque[_Waiting] = deque()
        self._early: list[tuple[Point, Found]] | None = None  # heard in the moment before the twin knows what is listened to

    def rewire(self, wiring: Wiring) -> None:
        """The device or its model was changed; a device that is away is tried again at once."""
        if self._reporter.rewire(wiring):
            self._to_talk.ring()

    @property
    def wiring(self) -> Wiring:
        """What is done with the device now."""
        return self._twin.wiring

    async def call(self, call: Call) -> JSON:
        """Do this on the device, between two reads. UnreachableError when it is away or busy, InvalidError when it refuses.

        The answer has the `values` that were read back, or the `results` of a method of the mapper's own.
        """
        if not self._twin.answers:
            raise UnreachableError(f"the device does not answer: {self._twin.trouble or 'it was not reached yet'}")
        if len(self._calls) >= MAX_CALLS:
            raise UnreachableError(f"{MAX_CALLS} calls wait for the device already; try again")
        waiting = _Waiting(call)
        self._calls.append(waiting)
        self._to_talk.ring()
        with trio.move_on_after(CALL_S):
            await waiting.done.wait()
        if waiting in self._calls:
            self._calls.remove(waiting)
        if isinstance(waiting.outcome, EdgedError):
            raise waiting.outcome
        if waiting.outcome is None:
            raise UnreachableError(f"the device did not answer within {CALL_S:g} s; whether the call was heard is not known")
        return waiting.outcome

    async def run(self) -> None:
        """Talk and report, each without waiting for the other."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._reporter.run)
            nursery.start_soon(self._keep_talking)

    async def _keep_talking(self) -> None:
        backoff = Backoff(RETRY_FIRST_S, RETRY_CAP_S, self._random)
        while True:
            try:
                if self._twin.wiring.properties:
                    await self._talk(backoff)
                else:
                    await self._to_talk.wait(math.inf)
            except* UnreachableError as errors:
                self._broke(first(errors))
                self._twin.lost(str(first(errors)), trio.current_time())
            except* ProtocolError as errors:
                self._broke(first(errors))
                self._twin.garbled(str(first(errors)))
            else:
                continue
            self._reporter.look()
            await self._to_talk.wait(trio.current_time() + backoff.next())

    def _broke(self, error: BaseException) -> None:
        if not self._trouble:
            self._log.warning(f"{error}; trying again until it answers, at least every {RETRY_CAP_S:g} s")
        self._trouble = True

    async def _talk(self, backoff: Backoff) -> None:
        """One session, until it breaks (UnreachableError, ProtocolError) or the device is to be found elsewhere."""
        mapper, address = self._twin.wiring.mapper, self._twin.wiring.address
        if mapper is None:
            return
        session = await mapper.connect(address)
        try:
            while self._at(address):
                async with trio.open_nursery() as nursery:
                    wants, self._early = self._twin.wants(), []
                    heard = await nursery.start(session.listen, wants, self._heard)
                    self._twin.connected(trio.current_time(), self._wall(), heard)
                    early, self._early = self._early, None
                    self._heard(early)
                    while self._twin.wants() == wants and self._at(address):
                        await self._next(session, backoff)
                    nursery.cancel_scope.cancel()
        finally:
            with trio.move_on_after(CLOSE_S, shield=True):
                await session.aclose()

    def _at(self, address: Any) -> bool:
        return bool(self._twin.wiring.properties) and self._twin.wiring.address == address

    async def _next(self, session: Session[Any], backoff: Backoff) -> None:
        if self._calls:
            await self._answer(session, self._calls.popleft())
        task = self._twin.task(trio.current_time())
        if task is None:
            await self._to_talk.wait(self._twin.deadline())
        elif isinstance(task, Read):
            found = await session.read([wired.point for wired in task.wired])
            self._twin.read(task, found, trio.current_time(), self._wall())
        else:
            await self._write(session, task)
        self._reporter.look()
        if self._twin.answers:
            backoff.reset()
            if self._trouble:
                self._log.info("answers again")
            self._trouble = False

    def _heard(self, found: Sequence[tuple[Point, Found]]) -> None:
        if self._early is not None:
            self._early += found
        elif found:
            self._twin.heard(found, trio.current_time(), self._wall())
            self._reporter.look()

    async def _answer(self, session: Session[Any], waiting: "_Waiting") -> None:
        try:
            waiting.outcome = await self._do(session, waiting.call)
        except PropertyError as error:
            waiting.outcome = InvalidError(str(error))
        except (UnreachableError, ProtocolError) as error:
            waiting.outcome = UnreachableError(f"{error}; whether the call was heard is not known")
            raise
        finally:
            waiting.done.set()

    async def _do(self, session: Session[Any], call: Call) -> JSON:
        if not call.writes:
            if not isinstance(session, Calls):
                raise PropertyError(f"method {call.method} names no properties, and the protocol has no methods of its own")
            return {"results": [to_text(each) for each in await session.call(call.method, call.arguments)]}
        values = {}
        for wired, value in call.writes:
            try:
                await session.write(wired.point, value)
            except PropertyError as error:
                raise PropertyError(f"{wired.name}: {error}") from error
            values[wired.name] = to_text(value)
            found = (await session.read([wired.point]))[0] if wired.read_back else None
            if isinstance(found, Sample):
                self._twin.read(Read((wired,)), [found], trio.current_time(), self._wall())
                if found.value != value:
                    raise PropertyError(f"{wired.name}: {to_text(value)} was written, {to_text(found.value)} reads back")
        return {"values": values}

    async def _write(self, session: Session[Any], task: Write) -> None:
        try:
            await session.write(task.wired.point, task.desired.value)
        except PropertyError as error:
            self._twin.unwritten(task, str(error), self._wall())
            return
        found = (await session.read([task.wired.point]))[0] if task.wired.read_back else None
        read = found if isinstance(found, Sample) else None  # it can be written, but not read: its confirmation must do
        self._twin.written(task, read, trio.current_time(), self._wall())


class _Waiting:
    """A call that waits for its turn; its outcome is there when it is `done`."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.done = trio.Event()
        self.outcome: JSON | EdgedError | None = None
