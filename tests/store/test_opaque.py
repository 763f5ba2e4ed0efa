from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.errors import ConflictError, ProtocolError
from edged.kit.executor import Inline
from edged.model.objects import Key
from edged.store import opaque
from edged.store.opaque import Opaque, readable
from edged.store.rows import Placed
from edged.store.store import Store, open_store
from edged.store.table import Table
from edged.store.writes import Create, Put, PutStatus
from edged.wire.sync import BODY, STATUS, Delta, Register

POD = Key("pods", "default", "web-0")
THEIRS = "/gw-b:1"
OLD, NEW = b'{"apiVersion":"v1","kind":"Pod","spec":{}}', b'{"apiVersion":"v1","kind":"Pod","spec":{"nodeName":{"of":7}}}'


def theirs(seq: int, value: bytes | None, part: str = BODY, clock: int = 100) -> Delta:
    return Delta(THEIRS, seq - 1, seq, [Register(*POD, part, "u1", THEIRS, seq, clock + seq, value)])


def test_what_can_be_read() -> None:
    register = theirs(1, OLD).registers[0]
    assert readable(register)
    assert readable(theirs(1, None).registers[0])
    assert not readable(theirs(1, NEW).registers[0])
    assert not readable(theirs(1, b"[" * 100_000).registers[0])
    assert not readable(theirs(1, b'{"phase":7}', STATUS).registers[0])
    assert readable(Register("widgets", "", "w", BODY, "u", THEIRS, 1, 1, b"whatever"))


def test_there_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opaque, "MAX_OPAQUE", 2)
    one, two, three = (("", *POD[:2], str(number), BODY) for number in range(3))
    covered = Opaque({one})
    assert covered.cover(two, opaque=True)
    assert not covered.cover(two, opaque=True)
    assert not covered.cover(three, opaque=False)
    with pytest.raises(ProtocolError, match="more than 2 registers"):
        covered.cover(three, opaque=True)


async def test_it_is_held_and_passed_on_and_not_seen(store: Store) -> None:
    await store.write(Create(POD, "u1", OLD))
    revision = store.revision
    await store.merge(theirs(1, NEW))
    assert (store.get(POD), store.list("pods")) == (None, [])
    assert [change.type for change in store.changes(revision)] == ["DELETED"]
    assert store.held()[THEIRS] == 1
    assert store.delta(THEIRS, 0).registers == theirs(1, NEW).registers
    assert (store.opaque_count, store.opaque_kinds, store.doubted(POD)) == (1, {"pods"}, True)


async def test_nothing_is_written_over_it(store: Store) -> None:
    await store.merge(theirs(1, NEW))
    with pytest.raises(ConflictError, match='pods "web-0" is of a newer edged'):
        await store.write(Create(POD, "u2", OLD))
    with pytest.raises(ConflictError, match="is of a newer edged"):
        await store.write(Put(POD, OLD))
    await store.merge(theirs(2, OLD))
    assert store.get(POD).body == OLD
    assert store.opaque_count == 0


async def test_a_status_is_not_shown_and_the_next_one_is(store: Store) -> None:
    await store.write(Create(POD, "u1", OLD))
    await store.merge(theirs(1, b'{"phase":7}', STATUS))
    assert store.get(POD).status is None
    await store.write(PutStatus(POD, b'{"phase":"Running"}'))
    assert store.get(POD).status == b'{"phase":"Running"}'
    assert store.opaque_count == 0


async def test_a_volatile_one_is_not_kept(store: Store) -> None:
    await store.write(Create(POD, "u1", OLD))
    volatile = f"{THEIRS}~1"
    await store.merge(Delta(volatile, 0, 1, [Register(*POD, STATUS, "u1", volatile, 1, 100, b'{"phase":7}')]))
    assert store.get(POD).status is None
    assert store.held()[volatile] == 1


async def test_a_refused_request_leaves_no_trace(store: Store) -> None:
    both = Delta(THEIRS, 5, 6, theirs(6, NEW).registers)
    with pytest.raises(ConflictError, match="0 is held here"):
        await store.merge(both)
    assert store.opaque_count == 0


async def test_each_start_looks_again(tmp_path: Path, clock: Iterator[int], monkeypatch: pytest.MonkeyPatch) -> None:
    for reads in (False, True):
        monkeypatch.setattr("edged.store.table.readable", lambda _, reads=reads: reads)
        async with open_store(tmp_path / "s.db", origin="gw-a", stamp=lambda: next(clock), executor=Inline()) as store:
            if not reads:
                await store.merge(theirs(1, NEW))
            assert store.opaque_count == (not reads)
            assert (store.get(POD) is not None) is reads


async def test_what_is_gone_is_forgotten(store: Store) -> None:
    await store.merge(theirs(1, NEW))
    await store.merge(theirs(2, None))
    assert store.opaque_count == 0
    await store.merge(theirs(3, NEW))
    await store.sweep({THEIRS: 3}, {}, {})
    assert store.opaque_count == 0
    assert Table(store._disk.reader).opaque() == set()


def test_only_what_cannot_be_read_is_covered() -> None:
    body, status = (Placed(theirs(1, OLD, part).registers[0], 1) for part in (BODY, STATUS))
    at = ("", *POD)
    assert opaque.uncovered(at, (body, status), set()) == (body, status)
    assert opaque.uncovered(at, (body, status), {(*at, BODY)}) == (None, status)
    assert opaque.uncovered(at, (body, status), {(*at, STATUS)}) == (body, None)
