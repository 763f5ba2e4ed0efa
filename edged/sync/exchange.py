"""One replication stream with one peer: what it says is checked and stored, what it lacks is sent. A shell."""

from collections import deque
from collections.abc import AsyncGenerator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from typing import Protocol

import msgspec
import trio

from edged.errors import ProtocolError
from edged.kit.log import Log
from edged.store.store import Store
from edged.sync.clock import Clock
from edged.sync.comparison import Comparison
from edged.sync.judge import Judge, Verdict
from edged.sync.membership import Membership
from edged.sync.session import Session, Sweep
from edged.wire.codec import Frames, framed
from edged.wire.sync import (
    MAX_CERTIFICATES,
    SYNC,
    VOLATILE,
    Certificates,
    Delta,
    Digest,
    Found,
    Fresh,
    Place,
    Pulses,
    Register,
    Standing,
    SyncMessage,
    Vector,
    Want,
    home_of,
    node_of,
)

READ = 64 << 10  # bytes asked of a stream at once
JUDGED_AT_ONCE = 32  # registers: some 3 ms of signatures, then others run
ANTI_ENTROPY_S = 30.0  # what was forgotten is asked for again after so long,
ASK_AGAIN_S = 1.0  # and what was held back as soon as something else came, but not more often
QUIET_S = 5.0  # a peer from which nothing more comes for so long has nothing more, or cannot send it
MAX_LEAP = 1 << 20  # writes of one run that were forgotten: nobody shall use up this node's numbers
MAX_ANSWERS = 16  # questions of the peer that wait for an answer; one that asks more is not answered


class Home(Protocol):
    """The node that an exchange is of, and what all its exchanges share."""

    home: str  # its group
    store: Store
    clock: Clock
    judge: Judge
    membership: Membership
    log: Log

    def jitter(self) -> float:
        """A factor around 1, so that nodes do not march in step."""

    async def learnt(self) -> None:
        """Certificates came: keep them."""

    async def restamp(self, held: Mapping[str, int]) -> None:
        """A peer holds this: stamp anew what it lacks, if this node wrote it with a clock that was far ahead."""

    async def denied(self, register: Register, why: str) -> None:
        """A node wrote what it may not."""

    async def found(self, peer: str, found: Found) -> None:
        """What a peer has, and has not, of what is damaged here."""

    async def forgot(self, register: Register, peer: str) -> None:
        """A peer holds a register that this node wrote and does not know: its disk went back."""

    def unread(self) -> None:
        """Registers came: some may be of a newer edged."""

    def compare(self) -> None:
        """Registers came that numbers did not tell of: all exchanges compare what they hold."""

    def copied(self) -> None:
        """A copy is complete: all peers are told what is held now."""

    def may_copy(self, peer: str) -> bool:
        """Whether a fresh copy may be taken from a peer now: from one at a time, as long as it goes on."""


class Exchange:
    """`peer` is at the other end of `stream`."""

    def __init__(self, peer: str, stream: trio.abc.HalfCloseableStream, session: Session, home: Home) -> None:
        self._peer, self._stream, self._session, self._home = peer, stream, session, home
        self._store, self._membership = home.store, home.membership
        self._wake = trio.Event()
        self.settled = trio.Event()  # set while all that there is to say was said
        self._say_vector = True
        self._said_vector = -ASK_AGAIN_S
        self._behind = True  # the peer may lack something
        self._repairs = True  # what it lacks it is sent, whoever else may send it, too
        self._copy_asked = False  # by the peer
        self._comparison = Comparison()
        self._answers: deque[Want] = deque(maxlen=MAX_ANSWERS)
        self._unfit: dict[str, int] = {}  # of a copy, the number after which a register of an origin must wait
        self._held_back: set[str] = set()  # origins of which a register waits
        self._refused: dict[str, int] = {}  # of nodes that have more than their quota here: what was not taken, up to there
        self._awaited: Mapping[str, int] | None = None  # what the peer holds at first
        self._came = trio.Event()

    async def run(self) -> None:
        """Both directions until the stream ends. ProtocolError, ConflictError or StorageError end it sooner."""
        with self._membership.listening(self.rouse):
            async with trio.open_nursery() as nursery:
                for task in (self._catch_up, self._send, self._watch_store, self._watch_damage, self._keep_asking):
                    nursery.start_soon(task)
                async with aclosing(_heard(self._stream)) as messages:
                    async for message in messages:
                        await self._take(message)
                nursery.cancel_scope.cancel()

    async def _catch_up(self) -> None:
        """Until what the peer holds at first has come here, or nothing comes any more, this node is behind."""
        if self._session.abroad:
            return
        with self._membership.catching_up():
            while self._awaited is None or self._lacks(self._awaited):
                with trio.move_on_after(QUIET_S) as quiet:
                    await self._came.wait()
                if quiet.cancelled_caught:
                    return
                self._came = trio.Event()

    def _lacks(self, awaited: Mapping[str, int]) -> bool:
        return any(number > self._store.number(origin) for origin, number in awaited.items() if origin not in self._held_back)

    # ---- what wakes the sender

    def tell_numbers(self) -> None:
        """Say the vector soon."""
        self._say_vector = True
        self.rouse()

    def rouse(self) -> None:
        """There may be something to say."""
        if self.settled.is_set():
            self.settled = trio.Event()
        self._wake.set()

    def compare(self) -> None:
        """Compare soon what both hold."""
        self._comparison.again()
        self._say_vector = True
        self.rouse()

    async def _watch_store(self) -> None:
        revision = self._store.revision
        while True:
            revision = await self._store.changed(revision)
            if self._lacking(self._membership.links_of(self._peer)):  # of most changes it told us, or has them from others
                self._behind = True
                self.rouse()

    async def _watch_damage(self) -> None:
        damaged: frozenset[Place] = frozenset()
        while True:
            damaged = await self._store.damage(damaged)
            self._say_vector = True
            self.rouse()

    async def _keep_asking(self) -> None:
        while True:
            await trio.sleep(ANTI_ENTROPY_S * self._home.jitter())
            self._say_vector = True
            self.rouse()

    # ---- out

    async def _send(self) -> None:
        session = self._session
        await self._say(session.hello())
        while True:
            self._wake = trio.Event()
            if self._say_vector:
                self._say_vector = False
                await self._ask()
            await self._tell_pulses()
            while self._answers:
                await self._answer(self._answers.popleft())
            if session.informed:
                if self._copy_asked:
                    self._copy_asked = False
                    await self._send_copy()
                if self._behind:
                    self._behind, repairs, self._repairs = False, self._repairs, False
                    await self._send_lacking(repairs=repairs)
                await self._compare()
            if not self._wake.is_set():
                self.settled.set()
            await self._wake.wait()

    async def _ask(self) -> None:
        """What this node holds, and what it needs beyond what its peer sends by itself."""
        held, self._said_vector = self._store.held() | self._questioned(), trio.current_time()
        self._refused = {origin: upto for origin, upto in self._refused.items() if not self._store.has_room(origin)}
        if not self._session.copying:  # else these numbers say less than has come
            await self._say(self._session.vector(held, self._store.floors(), self._refused))
        if self._needs_copy() and self._home.may_copy(self._peer):
            self._home.log.info(f"this node was away for long: it takes a fresh copy from {self._peer}")
            self._unfit.clear()
            self._session.begin_copy()
            await self._say(Fresh())
        damaged = self._session.wanted(self._store.damaged)
        if damaged:
            await self._say(Want(damaged))

    def _questioned(self) -> dict[str, int]:
        """Own origins of which the peer says to hold more than was written: what it has beyond the beginning of this run."""
        return {origin: self._store.opened(origin) for origin, seq in self._own().items() if self._session.claims(origin, seq)}

    def _needs_copy(self) -> bool:
        """Whether the peer has forgotten deletions that this node may have missed, and was not asked for a copy yet."""
        return not self._session.copying and self._session.stale(self._store.held())

    async def _tell_pulses(self) -> None:
        while pulses := self._session.untold(self._membership.pulses):
            await self._prove([pulse.signature for pulse in pulses])
            await self._say(Pulses(pulses))

    async def _send_lacking(self, *, repairs: bool) -> None:
        """What the peer lacks; of what its own neighbours have written only what `repairs`, as it has that from them."""
        near = frozenset() if repairs else self._membership.links_of(self._peer)
        stuck: set[str] = set()
        while lacking := [each for each in self._lacking(near) if each[0] not in stuck]:
            for origin, since in lacking:
                if await self._send_delta(origin, since) == since:
                    stuck.add(origin)

    def _lacking(self, near: AbstractSet[str]) -> list[tuple[str, int]]:
        """What to send: (origin, number after which the peer lacks everything); of the `near` nodes nothing."""
        own, limited = self._store.origins, self._limited
        lacking = self._session.lacking(self._store.held(), {} if limited else self._store.floors())
        if limited:  # nobody believes it: of others it passes nothing on
            return [each for each in lacking if each[0] in own]
        return [each for each in lacking if each[0] in own or not self._is_near(each[0], near)]

    def _is_near(self, origin: str, near: AbstractSet[str]) -> bool:
        return node_of(origin) in near and home_of(origin) == self._home.home

    async def _send_delta(self, origin: str, since: int, *, copy: bool = False) -> int:
        """One delta; up to where it reaches. Nothing is sent when it would reach no further: its first register waits."""
        delta = self._store.delta(origin, since, self._home.clock.limit)
        if delta.upto > since:
            await self._prove([register.signature for register in delta.registers])
            await self._say(msgspec.structs.replace(delta, copy=copy))
            self._session.sent(delta)
        return delta.upto

    async def _send_copy(self) -> None:
        """Everything from the beginning and what has changed meanwhile, then the word that this was all."""
        sent: dict[str, int] = {}
        while lacking := [(origin, since) for origin, upto in self._durable() if (since := sent.get(origin, 0)) < upto]:
            for origin, since in lacking:
                sent[origin] = await self._send_delta(origin, since, copy=True)
                if sent[origin] == since:  # a register cannot be sent: the peer asks somebody else, or again
                    await self._say(Standing({}))
                    return
        await self._say(Standing(sent))

    def _durable(self) -> list[tuple[str, int]]:
        """What is held here of what both share, but for what lives in memory only."""
        shared = self._session.vector(self._store.held(), {}).held
        return sorted((origin, upto) for origin, upto in shared.items() if VOLATILE not in origin)

    async def _compare(self) -> None:
        """Say a digest of what is held; where the peer's is another one, send all of it."""
        if not self._comparison.waits(trio.current_time()):
            return
        numbers = self._session.numbers(self._store.held())
        if not self._comparison.due(numbers, trio.current_time()):
            return
        registers = await self._store.digest(self._session.shares_scope)
        if registers is None:
            self._comparison.missed()
            return
        own = Digest(numbers, registers)
        say, send = self._comparison.made(own, trio.current_time())
        if say:
            await self._say(own)
        if send:
            self._home.log.warning(f"{self._peer} holds other registers under the same numbers: both send all that they hold")
            await self._send_all()

    async def _send_all(self) -> None:
        """The registers of all origins, of a limited node its own, as far as they can be sent."""
        for origin, upto in self._durable():
            if self._limited and origin not in self._store.origins:
                continue
            since, reached = -1, 0
            while since < reached < upto:
                since, reached = reached, await self._send_delta(origin, reached, copy=True)

    async def _answer(self, want: Want) -> None:
        found = self._store.standing(want.places)
        await self._prove([register.signature for register in found])
        for register in found:
            await self._say(Found([register]))
        there = {register.place for register in found}
        await self._say(Found([], [place for place in want.places if place not in there]))

    async def _prove(self, signatures: list[bytes]) -> None:
        certificates = self._session.missing(signatures)
        for at in range(0, len(certificates), MAX_CERTIFICATES):
            await self._say(Certificates(certificates[at : at + MAX_CERTIFICATES]))

    async def _say(self, message: SyncMessage) -> None:
        await self._stream.send_all(framed(SYNC.encode(message)))

    # ---- in

    async def _take(self, message: SyncMessage) -> None:
        taken = self._session.receive(message, self._own() if isinstance(message, Standing) else {})
        match taken:
            case Vector():
                await self._take_vector(taken)
            case Digest():
                self._comparison.heard(taken)
                self.rouse()
            case Certificates():
                await self._home.learnt()
            case Delta():
                await (self._merge_copy if self._is_copy(taken) else self._merge)(taken)
                self._came.set()
            case Pulses():
                near = self._membership.links_of(self._peer)
                self._membership.receive(taken.pulses, self._peer)
                self._membership.informed()
                if not near <= self._membership.links_of(self._peer):  # it lost a link: now it is we who pass on
                    self._behind = True
                    self.rouse()
            case Want():
                self._answers.append(taken)
                self.rouse()
            case Found():
                await self._found(taken)
            case Fresh():
                self._copy_asked = True
                self.rouse()
            case Sweep():
                held = {origin: min(upto, self._unfit.get(origin, upto)) for origin, upto in taken.held.items()}
                await self._store.sweep(held, taken.standing, self._session.floors)
                if held and not self._unfit:  # else another copy is asked for with the next vector, half a minute later
                    self._home.copied()

    async def _take_vector(self, vector: Vector) -> None:
        await self._home.restamp(self._unshared() | vector.held)
        self._say_vector |= self._needs_copy() and self._home.may_copy(self._peer)
        if self._awaited is None:
            self._awaited = {origin: upto for origin, upto in vector.held.items() if origin not in self._store.origins}
            self._came.set()
        self._behind = self._repairs = True
        self._comparison.vector(equal=self._session.equals(vector, self._store.held()))
        self.rouse()

    @property
    def _limited(self) -> bool:
        return self._membership.node in self._membership.limited

    def _unshared(self) -> dict[str, int]:
        """What this node writes and the peer is not to have: not the peer lacks it."""
        return {origin: seq for origin, seq in self._own().items() if not self._session.shares(origin)}

    def _own(self) -> dict[str, int]:
        return {origin: self._store.number(origin) for origin in self._store.origins}

    async def _merge(self, delta: Delta) -> None:
        """Store what may be taken of a delta; what must wait is asked for again with the next vector."""
        held = self._store.number(delta.origin)
        if delta.copy and self._session.copying:
            self._home.may_copy(self._peer)
        if delta.since > held and delta.origin in self._held_back:
            self._session.taken(delta)  # it follows what is held back
            return
        anew = (delta.copy or delta.origin in self._store.origins) and VOLATILE not in delta.origin
        upto, taken = await self._judged(delta, held, again=anew)
        if unknown := next(filter(self._store.forgot, taken), None):
            await self._home.forgot(unknown, self._peer)
            self._session.taken(delta)
            self._say_vector = True  # of all that was forgotten, this is but a part
            self.rouse()
            return
        if delta.origin in self._store.origins:  # what this node wrote it has signed: nobody can say that it wrote more
            if held < upto <= held + MAX_LEAP and delta.since <= self._store.opened(delta.origin) and not self._session.limited:
                await self._store.leap(delta.origin, upto)  # but it may have written, and forgotten, what was superseded since
            upto = held
        if delta.since > held and delta.origin in self._refused:  # what it replaces or ends is taken, and proves no number
            self._refused[delta.origin] = max(self._refused[delta.origin], delta.upto)
            delta, upto = msgspec.structs.replace(delta, since=held), held
        again = any(register.seq <= held for register in taken)
        if upto > held or taken:
            await self._store.merge(Delta(delta.origin, delta.since, upto, taken, copy=again))
            for register in taken:
                self._home.clock.observe(register.clock)
            self._home.unread()
        if again:
            self._home.compare()
        self._session.taken(delta)
        if upto < delta.upto and delta.origin not in self._store.origins and delta.origin not in self._refused:
            self._held_back.add(delta.origin)
        elif self._held_back and trio.current_time() >= self._said_vector + ASK_AGAIN_S:
            self._held_back.clear()
            self._say_vector = True
            self.rouse()

    def _is_copy(self, delta: Delta) -> bool:
        """Whether a delta is of the copy that was asked for, and not of what this node wrote."""
        return delta.copy and self._session.copying and delta.origin not in self._store.origins

    async def _merge_copy(self, delta: Delta) -> None:
        """Store what a copy has beyond what is known here. Until it is complete no number says so: it may be broken off."""
        self._home.may_copy(self._peer)
        upto, taken = await self._judged(delta, self._store.number(delta.origin), again=False)
        await self._store.restore(taken)
        for register in taken:
            self._home.clock.observe(register.clock)
        if upto < delta.upto:
            self._unfit.setdefault(delta.origin, upto)
        self._session.taken(delta)

    async def _judged(self, delta: Delta, held: int, *, again: bool) -> tuple[int, list[Register]]:
        """The registers of a delta beyond `held` that may be taken, up to the first that must wait; `again` any that lack."""
        upto, taken = delta.upto, list[Register]()
        for number, register in enumerate(delta.registers):
            if register.seq <= held and not (again and self._store.lacks(register)):
                continue
            if number % JUDGED_AT_ONCE == JUDGED_AT_ONCE - 1:
                await trio.lowlevel.checkpoint()
            verdict, why = self._home.judge.verdict(register, self._peer)
            if verdict is Verdict.WAIT:
                self._home.log.debug(f"replication with {self._peer}: {why}")
                return min(upto, max(delta.since, register.seq - 1)), taken
            if verdict is Verdict.DENY:
                await self._home.denied(register, why)
            elif self._store.refuses(register):
                await self._home.denied(register, f"{node_of(delta.origin)} has more than its quota on this node")
                self._refused[delta.origin] = delta.upto
                upto = min(upto, max(delta.since, register.seq - 1))
            else:
                taken.append(register)
        return upto, taken

    async def _found(self, found: Found) -> None:
        for register in found.registers:
            if self._home.judge.verdict(register, self._peer)[0] is not Verdict.TAKE:
                raise ProtocolError(f"register {register.seq} of {register.origin} was found where it may not be")
        await self._home.found(self._peer, found)


async def _heard(stream: trio.abc.HalfCloseableStream) -> AsyncGenerator[SyncMessage, None]:
    frames = Frames()
    while True:
        while (frame := frames.next()) is not None:
            yield SYNC.decode(frame)
        data = await stream.receive_some(READ)
        if not data:
            return
        frames.feed(data)
