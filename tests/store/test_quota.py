from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edged.errors import NotFoundError, QuotaError
from edged.kit.executor import Inline
from edged.model.objects import Key
from edged.store.quota import LEAST, NOTHING, OVERHEAD, QUOTA, Quota, Usage, Used, Writer, writer_of
from edged.store.store import Store, open_store
from edged.store.writes import Create, Delete, Put, PutStatus
from edged.wire.sync import BODY, Delta, Register

THEIRS = "site/gw-b:1"


def key(name: str) -> Key:
    return Key("widgets", "default", name)


def register(name: str, seq: int = 1, value: bytes | None = b"{}", origin: str = THEIRS) -> Register:
    return Register(*key(name), BODY, "u", origin, seq, 100 + seq, value)


def test_all_stores_and_scopes_of_a_node_are_one_writer() -> None:
    assert {writer_of(origin) for origin in ("site/gw-a:1", "site/gw-a:2", "*/site/gw-a:3")} == {Writer("site", "gw-a")}
    assert writer_of("yard/gw-a:1") == Writer("yard", "gw-a")


def test_others_take_a_quarter_more_and_the_ends_of_twice_as_many() -> None:
    quota = Quota(8, 1000)
    assert [quota.reached(Used(count, 0)) for count in (7, 8)] == [False, True]
    assert [quota.reached(Used(0, size)) for size in (999, 1000)] == [False, True]
    assert [quota.refuses(Used(count, 0), register("w")) for count in (9, 10)] == [False, True]
    assert [quota.refuses(Used(count, 0), register("w", value=None)) for count in (15, 16)] == [False, True]


def test_a_small_disk_is_not_filled() -> None:
    assert QUOTA.of_disk(1 << 40) == QUOTA
    assert QUOTA.of_disk(1 << 30).bytes == 1 << 28
    assert QUOTA.of_disk(1 << 20).bytes == LEAST


def test_usage() -> None:
    base = {writer_of(THEIRS): Used(5, 2000)}
    usage = Usage(base)
    usage.replace(register("a"), register("a", 2, b"four"))
    assert usage.of(writer_of(THEIRS)) == Used(5, 2002)
    usage.replace(register("a"), register("a", 1, None, "site/gw-a:1"))
    assert usage.of(writer_of(THEIRS)) == Used(4, 2000 - OVERHEAD)
    assert usage.of(Writer("site", "gw-a")) == Used(1, OVERHEAD)
    assert usage.of(Writer("site", "gw-c")) == NOTHING
    assert base == {writer_of(THEIRS): Used(5, 2000)}


async def opened(path: Path, then: Callable[[Store], Any], quota: Quota = QUOTA) -> None:
    stamps = iter(range(1, 1000))
    async with open_store(
        path, origin="gw-a", group="site", stamp=lambda: next(stamps), executor=Inline(), quota=quota, new_id=lambda: "1"
    ) as store:
        await then(store)


async def test_what_is_counted_is_what_stands_also_after_a_start(tmp_path: Path) -> None:
    async def fill(store: Store) -> None:
        await store.write(*(Create(key(f"w{number}"), "u", b"{}") for number in range(4)))
        await store.write(Put(key("w0"), b"longer"), PutStatus(key("w1"), b"{}"), Delete(key("w2")))
        await store.merge(Delta(THEIRS, 0, 2, [register("w3", 1), register("theirs", 2)]))
        with pytest.raises(NotFoundError):
            await store.write(Create(key("more"), "u", b"{}"), Put(key("nowhere"), b"{}"))
        await look(store)
        await store.forget(1 << 60)
        assert store.used(store.origin) == Used(3, 3 * OVERHEAD + 10)
        await store.sweep({THEIRS: 2}, {THEIRS: {1}}, {})
        assert store.used(THEIRS) == Used(1, OVERHEAD + 2)

    async def look(store: Store) -> None:
        assert store.used(store.origin) == Used(4, 4 * OVERHEAD + 10)
        assert store.used(THEIRS) == Used(2, 2 * OVERHEAD + 4)

    async def again(store: Store) -> None:
        assert store.used(store.origin) == Used(3, 3 * OVERHEAD + 10)
        assert store.used(THEIRS) == Used(1, OVERHEAD + 2)

    await opened(tmp_path / "s.db", fill)
    await opened(tmp_path / "s.db", again)


async def test_a_node_makes_nothing_new_beyond_its_quota_and_changes_what_it_has(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        await store.write(Create(key("a"), "u", b"{}"), Create(key("b"), "u", b"{}"))
        with pytest.raises(
            QuotaError, match=r'widgets "c" is forbidden: exceeded quota: .* used: registers=2,.* limited: registers=2'
        ):
            await store.write(Create(key("c"), "u", b"{}"))
        await store.write(Put(key("a"), b"[]"), PutStatus(key("a"), b"{}"))
        assert not store.has_room(store.origin)
        await store.merge(Delta(THEIRS, 0, 1, [register("a", 1)]))
        await store.merge(Delta(THEIRS, 1, 2, [register("b", 2)]))
        await store.write(Create(key("c"), "u", b"{}"))

    await opened(tmp_path / "s.db", work, Quota(2))


async def test_others_are_refused_in_new_places_only(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        await store.merge(Delta(THEIRS, 0, 5, [register(f"w{seq}", seq) for seq in range(1, 6)]))
        assert store.refuses(register("w6", 6))
        assert not store.refuses(register("w5", 6))
        assert not store.refuses(register("w6", 6, None))
        assert not store.refuses(register("w6", 6, origin="site/gw-c:1"))
        assert not store.refuses(register("w6", 6, origin=f"{THEIRS}~1")), "memory has its own bounds"

    await opened(tmp_path / "s.db", work, Quota(4))
