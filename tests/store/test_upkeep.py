"""Stores that heal, forget, copy from each other and correct their clocks; two at a time, as peers would."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count, permutations
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.errors import AlreadyExistsError, ConflictError, NotFoundError
from edged.kit.executor import Inline
from edged.model.objects import Key
from edged.store.store import MEMORY, Store, open_store
from edged.store.upkeep import UPKEEP_BATCH
from edged.store.writes import Create, Delete, Put, PutStatus
from edged.wire.sync import BODY, STATUS, VOLATILE, Delta, Place, Register

KEYS = [Key("widgets", "default", f"web-{number}") for number in range(3)]
POD = KEYS[0]
BODY_PLACE: Place = ("", *POD, BODY)
STATUS_PLACE: Place = ("", *POD, STATUS)


@asynccontextmanager
async def stores(*names: str) -> AsyncIterator[list[Store]]:
    numbers = count(1)
    async with AsyncExitStack() as stack:
        opened = [open_store(MEMORY, origin=name, stamp=lambda: next(numbers), executor=Inline()) for name in names]
        yield [await stack.enter_async_context(each) for each in opened]


def damage(store: Store, where: str, change: str = "value = x'00'") -> None:
    store._disk.writer.execute(" ".join(("UPDATE registers SET", change, "WHERE", where))).fetchall()


def lacking(giver: Store, taker: Store, origin: str, since: int | None = None) -> Iterator[Delta]:
    since = taker.held().get(origin, 0) if since is None else since
    while since < giver.held()[origin] and (delta := giver.delta(origin, since)).upto > since:
        yield delta
        since = delta.upto


async def send(giver: Store, taker: Store) -> None:
    for origin in list(giver.held()):
        for delta in lacking(giver, taker, origin):
            await taker.merge(delta)


async def copy(giver: Store, taker: Store) -> None:
    """A fresh copy, as the protocol has it: a delta of every origin from 0 on, then what stands in them."""
    standing: dict[str, set[int]] = {}
    held = {origin: number for origin, number in giver.held().items() if VOLATILE not in origin}
    for origin in held:
        standing[origin], known = set(), taker.number(origin)
        for delta in lacking(giver, taker, origin, 0):
            await taker.restore(register for register in delta.registers if register.seq > known)
            standing[origin] |= {register.seq for register in delta.registers}
        assert taker.number(origin) == known, "nobody may believe that a copy which is broken off was complete"
    await taker.sweep(held, standing, giver.floors())
    for origin in giver.held().keys() - held.keys():
        for delta in lacking(giver, taker, origin):
            await taker.merge(delta)


def content(store: Store) -> list[Any]:
    return [(obj.key, obj.uid, obj.body, obj.status) for obj in store.list("widgets")]


# Damage


async def test_a_damaged_body_hides_its_object_until_a_peer_gives_it_back() -> None:
    async with stores("gw-a", "gw-b") as [one, other]:
        await one.write(Create(POD, "u1", b"1", b"s"), Create(KEYS[1], "u2", b"2"))
        await send(one, other)
        damage(one, "name = 'web-0' AND part = 'body'")
        assert one.get(POD) is None
        assert [obj.key for obj in one.list("widgets")] == [KEYS[1]]
        assert (one.damaged, one.damage_count) == ({BODY_PLACE}, 1)
        for write in (Create(POD, "u9", b"new"), Put(POD, b"new"), PutStatus(POD, b"new"), Delete(POD)):
            with pytest.raises(ConflictError, match=r'widgets "web-0" is damaged'):
                await one.write(write)
        revision = one.revision
        await one.restore(other.standing(one.damaged))
        assert (one.damaged, one.damage_count) == (frozenset(), 1)
        assert content(one) == content(other)
        assert [change.type for change in one.changes(revision)] == ["ADDED"]
        assert one.held() == other.held()


async def test_a_damaged_status_is_not_seen_and_overwritten_by_the_next() -> None:
    async with stores("gw-a") as [store]:
        await store.write(Create(POD, "u1", b"1", b"s"))
        damage(store, "part = 'status'")
        seen = store.get(POD)
        assert seen is not None
        assert (seen.body, seen.status, store.damaged) == (b"1", None, {STATUS_PLACE})
        await store.write(PutStatus(POD, b"next"))
        assert (store.get(POD).status, store.damaged) == (b"next", frozenset())


async def test_what_is_damaged_is_never_sent_and_nothing_after_it_is_promised() -> None:
    async with stores("gw-a", "gw-b") as [one, other]:
        for number, key in enumerate(KEYS, 1):
            await one.write(Create(key, f"u{number}", b"{}"))
        damage(one, "name = 'web-1'")
        await send(one, other)
        assert [obj.key for obj in other.list("widgets")] == [POD]
        assert other.held() == {one.origin: 1}
        await one.abandon(one.damaged)
        assert one.damaged == frozenset()
        await send(one, other)
        assert [obj.key for obj in other.list("widgets")] == [POD, KEYS[2]]
        await one.write(Create(KEYS[1], "u9", b"again"))
        assert one.get(KEYS[1]) is not None


async def test_an_older_register_does_not_heal_before_everybody_was_asked() -> None:
    async with stores("gw-a", "gw-b") as [one, other]:
        await one.write(Create(POD, "u1", b"old"))
        await send(one, other)
        await one.write(Put(POD, b"new"))
        damage(one, "part = 'body'")
        assert one.get(POD) is None
        await one.restore(other.standing([BODY_PLACE]))
        assert (one.get(POD), one.damaged) == (None, {BODY_PLACE})
        await one.merge(Delta("/gw-c:1", 0, 1, [Register(*POD, BODY, "u1", "/gw-c:1", 1, 0, b"older still")]))
        assert (one.get(POD), one.damaged) == (None, {BODY_PLACE})
        await one.abandon([BODY_PLACE])
        await one.restore(other.standing([BODY_PLACE]))
        assert (one.get(POD).body, one.damaged) == (b"old", frozenset())


async def test_a_later_register_heals() -> None:
    async with stores("gw-a") as [store]:
        await store.write(Create(POD, "u1", b"1"))
        damage(store, "part = 'body'")
        assert store.get(POD) is None
        await store.merge(Delta("/gw-c:1", 0, 1, [Register(*POD, BODY, "u1", "/gw-c:1", 1, 99, b"later")]))
        assert (store.get(POD).body, store.damaged) == (b"later", frozenset())


@pytest.mark.parametrize("change", ["name = CAST(x'ff' AS TEXT)", "uid = CAST(x'ff' AS TEXT)", "clock = 'x'", "rv = 1e300"])
async def test_rows_that_cannot_be_read_do_not_hide_the_others(change: str) -> None:
    async with stores("gw-a") as [store]:
        for number, key in enumerate(KEYS):
            await store.write(Create(key, f"u{number}", b"{}"))
        damage(store, "name = 'web-1'", change)
        assert [obj.key for obj in store.list("widgets")] == [POD, KEYS[2]]
        assert len(store.damaged) == 1
        assert store.delta(store.origin, 0).upto == 1
        assert store._reader.highest() == (3, 3)


async def test_a_scrub_notices_damage_where_nobody_reads() -> None:
    async with stores("gw-a") as [store]:
        many = [POD._replace(name=f"web-{number}") for number in range(2 * UPKEEP_BATCH)]
        await store.write(*(Create(key, "u1", b"{}") for key in many))
        for number in (0, UPKEEP_BATCH, 2 * UPKEEP_BATCH - 1):
            damage(store, f"name = 'web-{number}'")
        assert not await store.scrub()
        assert {place[3] for place in store.damaged} == {"web-0", "web-256", "web-511"}


async def test_a_scrub_repairs_a_damaged_index(tmp_path: Path) -> None:
    path, numbers = tmp_path / "store.db", count(1)
    async with open_store(path, origin="gw-a", stamp=lambda: next(numbers), executor=Inline()) as store:
        await store.write(*(Create(key, "u1", b"{}") for key in KEYS))
        origin = store.origin
    with_index = sqlite(path, "SELECT rootpage - 1 FROM sqlite_schema WHERE name = 'sqlite_autoindex_registers_1'")
    data = bytearray(path.read_bytes())
    at = data.index(b"web-1", with_index * 4096)
    assert at < (with_index + 1) * 4096
    data[at + 4] = ord("9")  # in the index only: the row itself is sound
    path.write_bytes(data)
    async with open_store(path, origin="gw-a", stamp=lambda: next(numbers), executor=Inline()) as store:
        assert store.get(KEYS[1]) is None
        assert await store.scrub()
        assert [obj.key for obj in store.list("widgets")] == KEYS
        assert not await store.scrub()
        assert (store.damaged, store.origin) == (frozenset(), origin)


def sqlite(path: Path, query: str) -> Any:
    connection = apsw.Connection(str(path))
    connection.pragma("wal_checkpoint(truncate)")
    [(value,)] = connection.execute(query).fetchall()
    connection.close()
    return value


async def test_who_waits_for_damage_is_woken() -> None:
    async with stores("gw-a") as [store]:
        await store.write(Create(POD, "u1", b"1"))
        damage(store, "part = 'body'")
        seen = []

        async def watch() -> None:
            seen.append(await store.damage(frozenset()))
            seen.append(await store.damage(seen[0]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.testing.wait_all_tasks_blocked()
            store.list("widgets")
            await trio.testing.wait_all_tasks_blocked()
            await store.abandon(store.damaged)
        assert seen == [{BODY_PLACE}, frozenset()]


# Checkpoints


async def test_a_checkpoint_makes_durable_what_is_seen() -> None:
    async with stores("gw-a", "gw-b") as [one, other]:
        await one.write(*(Create(key, "u1", b"{}") for key in KEYS))
        await one.write(*(PutStatus(key, b"21.5", volatile=True) for key in KEYS))
        await one.write(Delete(KEYS[1]), Create(KEYS[1], "u2", b"{}"))
        await send(one, other)
        await other.write(PutStatus(KEYS[2], b"later", volatile=True))
        await send(other, one)
        before = content(one)
        await one.checkpoint()
        assert content(one) == before
        assert {(placed.register.name) for placed in one._volatile.own()} == {"web-2"}
        durable = [register for register in one.delta(one.origin, 0).registers if register.part == STATUS and register.value]
        assert [(register.name, register.value) for register in durable] == [("web-0", b"21.5")]
        await send(one, other)
        assert content(other) == before
        held = one.held()
        await one.checkpoint()
        assert one.held() == held


# Tombstones and fresh copies


async def test_tombstones_are_removed_for_their_age_and_floors_say_so() -> None:
    async with stores("gw-a") as [store]:
        many = [POD._replace(name=f"web-{number}") for number in range(UPKEEP_BATCH + 50)]
        await store.write(*(Create(key, "u1", b"{}", b"s") for key in many))  # clock 1
        await store.write(*(Delete(key) for key in many))  # 2
        await store.write(Create(POD, "u2", b"{}"))  # 3
        await store.write(Delete(POD))  # 4
        revision, held = store.revision, store.held()
        assert await store.forget(before_clock=3) == 2 * len(many) - 1  # the body of POD has a later one
        assert store.floors() == {store.origin: 4 * len(many)}
        assert (store.revision, store.held()) == (revision, held)
        assert [register.name for register in store.delta(store.origin, 0).registers] == ["web-0"]
        assert await store.forget(before_clock=99) == 1
        assert store.delta(store.origin, 0).registers == []


async def test_who_was_away_too_long_drops_what_is_gone_and_keeps_what_it_wrote() -> None:
    async with stores("gw-a", "gw-b", "gw-c") as [home, away, third]:
        await home.write(*(Create(key, "u1", b"{}", b"s") for key in KEYS))
        await send(home, away)
        await home.write(Delete(POD), Delete(KEYS[1]))
        await home.forget(before_clock=99)
        await home.write(Create(KEYS[1], "u2", b"new"))
        await away.write(Put(KEYS[2], b"mine"), Create(POD._replace(name="own"), "u9", b"mine, too"))
        revision = away.revision
        await copy(home, away)
        assert [(obj.key.name, obj.uid) for obj in away.list("widgets")] == [("own", "u9"), ("web-1", "u2"), ("web-2", "u1")]
        assert [(c.type, c.object.key.name) for c in away.changes(revision) if c.type == "DELETED"] == [
            ("DELETED", "web-1"),
            ("DELETED", "web-0"),
        ]
        assert away.floors() == home.floors() != {}  # who comes to `away` is told, too
        await send(away, home)
        assert content(home) == content(away)
        await copy(home, third)
        assert content(third) == content(home)


Operation = tuple[int, str, int, int]
WHAT = ["create", "put", "status", "volatile", "delete", "delete", "forget", "send"]


def histories(names: int) -> st.SearchStrategy[list[Operation]]:
    who = st.integers(0, names - 1)
    return st.lists(st.tuples(who, st.sampled_from(WHAT), st.integers(0, len(KEYS) - 1), who), max_size=30)


@settings(max_examples=60, deadline=None)  # each opens its stores anew
@given(histories(2), st.permutations(["gw-a", "gw-b"]))
def test_two_stores_that_forget_and_copy_end_equal(history: list[Operation], order: list[str]) -> None:
    trio.run(converge, history, order)


@settings(max_examples=60, deadline=None)  # each opens its stores anew
@given(histories(3), st.permutations(["gw-a", "gw-b", "gw-c"]))
def test_three_stores_that_forget_and_copy_end_equal(history: list[Operation], order: list[str]) -> None:
    trio.run(converge, history, order)


async def converge(history: list[Operation], order: list[str]) -> None:
    """After any history, copies both ways between all end in equal stores that miss nothing that was never deleted."""
    async with stores(*sorted(order)) as opened:
        kept: set[Key] = set()
        for number, operation in enumerate(history):
            await operate(opened, operation, number, kept)
        by_name = dict(zip(sorted(order), opened, strict=True))
        for one, other in [*permutations([by_name[name] for name in order], 2)] * 2:
            await copy(one, other)
        first, *others = opened
        for other in others:
            assert content(first) == content(other)
            assert first.held() == other.held()
            assert first.floors() == other.floors()
        assert kept <= {obj.key for obj in first.list("widgets")}


async def operate(opened: list[Store], operation: Operation, number: int, kept: set[Key]) -> None:
    """Do one operation; `kept` are keys whose body was written after the last attempt to delete them."""
    who, what, which, to = operation
    store, key, value = opened[who], KEYS[which], b"%d" % number
    writes: dict[str, Any] = {
        "create": Create(key, f"u{number}", value, b"s"),
        "put": Put(key, value),
        "status": PutStatus(key, value),
        "volatile": PutStatus(key, value, volatile=True),
        "delete": Delete(key),
    }
    try:
        if what == "forget":
            await store.forget(before_clock=1 << 40)
        elif what == "send":
            # Between two that are linked the floors are looked at first: who may have missed a deletion takes a copy.
            floors, held = store.floors(), opened[to].held()
            missed = any(held.get(origin, 0) < floor for origin, floor in floors.items())
            await (copy if missed else send)(store, opened[to])
        else:
            await store.write(writes[what])
            if what == "delete":
                kept.discard(key)
            elif what in {"create", "put"}:  # a status does not bring back what another store deleted
                kept.add(key)
    except (NotFoundError, AlreadyExistsError):
        pass


# Clocks


async def test_registers_of_a_clock_that_was_far_ahead_are_written_again() -> None:
    now = 1000
    signed: list[bytes] = []

    def sign(data: bytes) -> bytes:
        signed.append(data)
        return b"signed"

    async with open_store(MEMORY, origin="gw-a", stamp=lambda: now, sign=sign, executor=Inline()) as store:
        await store.write(Create(POD, "u1", b"1", b"s"))
        now = 9_000
        await store.write(Put(POD, b"2"), PutStatus(POD, b"volatile", volatile=True))
        many = [POD._replace(name=f"ahead-{number}") for number in range(UPKEEP_BATCH + 5)]
        await store.write(*(Create(key, "u2", b"{}") for key in many))
        assert store.delta(store.origin, 0, limit=2000).upto == 2
        assert store.delta(store.origin, 2, limit=2000) == Delta(store.origin, 2, 2, [])
        assert await store.restamp(limit=2000) == 0  # the clock is still ahead
        now, held, before = 1_500, store.held(), content(store)
        assert await store.restamp(limit=2000) == len(many) + 2
        assert content(store) == before
        [fleeting] = [origin for origin in store.origins if VOLATILE in origin]
        assert store.held() == {store.origin: held[store.origin] + len(many) + 1, fleeting: held[fleeting] + 1}
        for origin in (store.origin, fleeting):
            for delta in lacking(store, store, origin, 0):
                assert all(register.clock <= 1_500 and register.signature == b"signed" for register in delta.registers)
        assert await store.restamp(limit=2000) == 0
        assert len(signed) == sum(store.held().values())


async def test_certificates_are_kept() -> None:
    async with stores("gw-a") as [store]:
        assert store.certificates() == {}
        await store.keep_certificates({b"1": b"one", b"2": b"two"})
        await store.keep_certificates({b"2": b"two", b"3": b"three"})
        assert store.certificates() == {b"1": b"one", b"2": b"two", b"3": b"three"}
