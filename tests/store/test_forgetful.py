"""A store whose disk went back to an older state: what it used numbers for is another's."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import msgspec
import pytest

from edged.kit.executor import Inline
from edged.model.objects import Key
from edged.store import upkeep
from edged.store.store import Store, open_store
from edged.store.writes import Create, Delete, PutStatus
from edged.wire.sync import BODY, Delta, Register

clock, ids = count(1), count(1)


def key(name: str) -> Key:
    return Key("widgets", "default", name)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Store]:
    async with open_store(
        path, origin="gw-a", group="site", stamp=lambda: next(clock), executor=Inline(), new_id=lambda: f"{next(ids)}"
    ) as store:
        yield store


async def everything(store: Store) -> list[Delta]:
    return [store.delta(origin, 0) for origin in sorted(store.held())]


@pytest.fixture
async def back(tmp_path: Path) -> AsyncIterator[tuple[Store, Delta]]:
    """A store that wrote `kept`, went back, and the registers that it does not know any more: `lost-0`, `lost-1`."""
    path = tmp_path / "store.db"
    async with opened(path) as store:
        await store.write(Create(key("kept"), "u", b"{}"))
    shutil.copy(path, tmp_path / "older.db")
    async with opened(path) as store:
        for number in range(2):
            await store.write(Create(key(f"lost-{number}"), f"u{number}", b"{}"))
        lost = store.delta(store.origin, 1)
    shutil.copy(tmp_path / "older.db", path)
    async with opened(path) as store:
        yield store, lost


async def test_what_was_written_since_the_start_is_written_again_under_a_new_id(
    back: tuple[Store, Delta], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "UPKEEP_BATCH", 2)
    store, lost = back
    for number in range(5):
        await store.write(Create(key(f"new-{number}"), f"n{number}", b"{}"))
    await store.write(Delete(key("new-0")))
    before, clocks = store.origin, {each.place: each.clock for each in store.delta(store.origin, 1).registers}
    assert store.forgot(lost.registers[0])
    revision = store.revision
    assert await store.renew(lost.registers[0]) == 5
    assert store.origin not in (before, None)
    assert store.held()[store.origin] == 5
    again = store.delta(store.origin, 0).registers
    assert {each.place: each.clock - 1 for each in again} == clocks, "each beats what others have of it, and little else"
    assert [each.name for each in store.delta(before, 0).registers] == ["kept"]
    await store.merge(msgspec.structs.replace(lost, copy=True))  # its numbers are held
    assert sorted(obj.key.name for obj in store.list("widgets")) == [
        "kept",
        "lost-0",
        "lost-1",
        *(f"new-{n}" for n in range(1, 5)),
    ]
    assert {change.type for change in store.changes(revision)} == {"ADDED", "MODIFIED"}, "nothing blinks"
    assert await store.renew(lost.registers[0]) is None, "it has a new id already"


async def test_before_its_first_write_it_simply_goes_on(back: tuple[Store, Delta], tmp_path: Path) -> None:
    store, lost = back
    before = store.origin
    assert await store.renew(lost.registers[0]) == 0
    await store.merge(lost)
    await store.write(Create(key("new"), "n", b"{}"))
    after = store.origin
    assert (store.held()[before], store.held()[after]) == (3, 1)
    assert after in store.origins
    assert before not in store.origins


async def test_the_new_id_is_kept(back: tuple[Store, Delta], tmp_path: Path) -> None:
    store, lost = back
    await store.renew(lost.registers[0])
    async with opened(tmp_path / "store.db") as again:
        assert again.origin == store.origin


async def test_what_was_volatile_becomes_durable_and_its_origin_follows(back: tuple[Store, Delta]) -> None:
    store, _ = back
    await store.write(PutStatus(key("kept"), b'{"phase":"Running"}', volatile=True))
    volatile = next(origin for origin in store.origins if "~" in origin)
    ahead = Register("widgets", "default", "kept", "status", "u", volatile, store.number(volatile) + 1, 9, b"{}")
    assert store.forgot(ahead)
    await store.renew(ahead)
    assert volatile not in store.origins
    assert store.get(key("kept")).status == b'{"phase":"Running"}'
    assert [each.value for each in store.delta(store.origin, 0).registers] == [b'{"phase":"Running"}']
    assert store.delta(volatile, 0).registers == []
    await store.write(PutStatus(key("kept"), b'{"phase":"Failed"}', volatile=True))
    [origin] = [origin for origin in store.origins if "~" in origin]
    assert [each.value for each in store.delta(origin, 0).registers] == [b'{"phase":"Failed"}']


async def test_a_request_that_is_refused_renews_nothing(back: tuple[Store, Delta]) -> None:
    store, lost = back
    before = store.origin
    mark = None

    def refused(transaction: upkeep.Transaction) -> None:
        nonlocal mark
        mark = transaction.mark()
        upkeep.rename(transaction, lost.origin, "gw-a:other", {lost.origin: 1})
        transaction.back_to(mark)

    await store._commits.ask(refused)
    assert store.origin == before


async def test_what_is_known_was_not_forgotten(back: tuple[Store, Delta]) -> None:
    store, lost = back
    await store.write(Create(key("new"), "n", b"{}"))
    [kept, new] = store.delta(store.origin, 0).registers
    assert not store.forgot(kept)
    assert not store.forgot(new)
    foreign = Register("widgets", "default", "x", BODY, "u", "site/gw-b:1", 9, 9, b"{}")
    assert not store.forgot(foreign)
    assert [store.forgot(each) for each in lost.registers] == [True, True], "one of a number that was used again, one beyond"


async def test_a_leap_uses_no_number_that_others_may_have(back: tuple[Store, Delta]) -> None:
    store, _ = back
    await store.write(Create(key("new"), "n", b"{}"))
    await store.leap(store.origin, 7)
    assert [(each.name, each.seq) for each in store.delta(store.origin, 0).registers] == [("kept", 1), ("new", 8)]
    await store.leap(store.origin, 7)
    assert store.held()[store.origin] == 8


async def test_a_leap_of_what_is_volatile(back: tuple[Store, Delta]) -> None:
    store, _ = back
    await store.write(PutStatus(key("kept"), b'{"phase":"Running"}', volatile=True))
    [volatile] = [origin for origin in store.origins if "~" in origin]
    await store.leap(volatile, 9)
    await store.write(PutStatus(key("kept"), b'{"phase":"Failed"}', volatile=True))
    assert [each.seq for each in store.delta(volatile, 0).registers] == [10]


async def test_registers_of_a_copy_are_looked_at_whatever_their_numbers(back: tuple[Store, Delta]) -> None:
    store, _ = back
    old = Delta("site/gw-b:1", 0, 2, [Register("widgets", "default", "b", BODY, "u", "site/gw-b:1", 2, 9, b"{}")])
    await store.merge(old)
    other = Register("widgets", "default", "c", BODY, "u", "site/gw-b:1", 2, 9, b"{}")
    assert store.lacks(other)
    await store.merge(Delta("site/gw-b:1", 0, 2, [other]))
    assert store.get(key("c")) is None
    await store.merge(Delta("site/gw-b:1", 0, 2, [other], copy=True))
    assert store.get(key("c")) is not None
    assert not store.lacks(other)
    assert [each.seq for each in store.delta("site/gw-b:1", 0).registers] == [2, 2]


async def test_a_digest_tells_what_is_held_and_nothing_while_it_changes(back: tuple[Store, Delta]) -> None:
    store, _ = back
    first = await store.digest(lambda scope: scope == "site")
    assert first == await store.digest(lambda scope: scope == "site")
    assert first != await store.digest(lambda scope: scope == "*")
    await store.write(Create(key("new"), "n", b"{}"))
    assert first != await store.digest(lambda scope: scope == "site")
    await store.restore([Register("widgets", "default", "d", BODY, "u", "site/gw-b:1", 7, 9, b"{}")])  # of a copy
    assert await store.digest(lambda scope: True) is None
