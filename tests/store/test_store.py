import io
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest
import trio
import trio.testing

from edged.errors import AlreadyExistsError, ConflictError, ExpiredError, NotFoundError, StorageError
from edged.kit.executor import Inline, Worker
from edged.kit.log import Log
from edged.model.objects import Key
from edged.store import volatile
from edged.store.store import Store, open_store
from edged.store.writes import Create, Delete, Put, PutStatus
from edged.wire.sync import BODY, STATUS, Delta, Register

POD = Key("widgets", "default", "web-0")


async def test_create_twice(store: Store) -> None:
    await store.write(Create(POD, "u1", b"{}"))
    with pytest.raises(AlreadyExistsError, match='widgets "web-0" already exists'):
        await store.write(Create(POD, "u2", b"{}"))
    assert store.get(POD).uid == "u1"


async def test_put_checks_the_version(store: Store) -> None:
    with pytest.raises(NotFoundError, match='widgets "web-0" not found'):
        await store.write(Put(POD, b"{}"))
    [made] = await store.write(Create(POD, "u1", b"1"))
    [changed] = await store.write(Put(POD, b"2", rv=made.rv))
    assert changed.rv > made.rv
    with pytest.raises(ConflictError, match="has been modified"):
        await store.write(Put(POD, b"3", rv=made.rv))
    assert store.get(POD).body == b"2"


async def test_status_belongs_to_its_uid(store: Store) -> None:
    await store.write(Create(POD, "u1", b"1", b"old"))
    await store.write(Delete(POD))
    assert store.get(POD) is None
    [made] = await store.write(Create(POD, "u2", b"2"))
    assert made.status is None
    with pytest.raises(ConflictError, match="the UID is u2, expected was u1"):
        await store.write(PutStatus(POD, b"late", uid="u1"))
    [seen] = await store.write(PutStatus(POD, b"new", uid="u2"))
    assert seen.status == b"new"


async def test_a_write_that_changes_nothing_is_not_written(store: Store) -> None:
    await store.write(Create(POD, "u1", b"1", b"s"))
    before, held = store.revision, store.held()
    await store.write(Put(POD, b"1"), PutStatus(POD, b"s"))
    assert (store.revision, store.held()) == (before, held)


async def test_changes_and_their_types(store: Store) -> None:
    await store.write(Create(POD, "u1", b"1"))
    await store.write(PutStatus(POD, b"s"))
    await store.write(Delete(POD))
    seen = store.changes(0)
    assert [change.type for change in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert seen[-1].object.body == b"1"
    assert seen[-1].object.rv == store.revision
    assert store.changes(seen[0].rv) == seen[1:]
    with pytest.raises(ExpiredError):
        store.changes(store.revision + 1)


async def test_changed_wakes(store: Store) -> None:
    woken: list[int] = []

    async def wait(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        woken.append(await store.changed(0))

    async with trio.open_nursery() as nursery:
        await nursery.start(wait)
        await store.write(Create(POD, "u1", b"1"))
    assert woken == [store.revision]


async def test_everything_is_there_after_reopening(tmp_path: Path, clock: Iterator[int]) -> None:
    path = tmp_path / "deep" / "store.db"
    async with open_store(path, origin="gw-a", stamp=lambda: next(clock), executor=Worker()) as store:
        await store.write(Create(POD, "u1", b"1", b"s"))
        kept, origin, revision = store.get(POD), store.origin, store.revision
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with open_store(path, origin="gw-a", stamp=lambda: next(clock), executor=Worker()) as store:
        assert (store.get(POD), store.origin) == (kept, origin)
        assert store.revision > revision  # its numbers may have been given to what was volatile
        revision = store.revision
        assert store.latest_clock >= 1
        with pytest.raises(ExpiredError):
            store.changes(revision - 1)
        assert store.changes(revision) == []
        await store.write(Put(POD, b"2"))
        assert len(store.changes(revision)) == 1


async def test_two_files_of_one_node_have_two_origins(tmp_path: Path) -> None:
    origins = set()
    for name in ("one", "two"):
        async with open_store(tmp_path / name, origin="gw-a", group="site-1", stamp=lambda: 1, executor=Inline()) as store:
            origins.add(store.origin)
    assert len(origins) == 2
    assert all(origin.startswith("site-1/gw-a:") for origin in origins)


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()
    with pytest.raises(StorageError, match="made by a newer edged"):
        async with open_store(path, origin="gw-a", stamp=lambda: 1, executor=Worker()):
            pass


async def test_a_full_disk_refuses_writes_and_goes_on_reading(store: Store) -> None:
    await store.write(Create(POD, "u1", b"1"))
    writer = store._disk.writer
    writer.pragma("max_page_count", writer.pragma("page_count"))
    with pytest.raises(StorageError, match="takes no writes: the disk is full"):
        await store.write(Create(POD._replace(name="big"), "u2", b"x" * 1_000_000))
    assert store.get(POD).body == b"1"
    assert store.trouble.startswith("the disk is full")
    await store.write(Create(POD._replace(name="big"), "u2", b"x" * 1_000_000))
    assert [change.object.key.name for change in store.changes(0)] == ["web-0", "big"]


async def test_merge_takes_later_registers_only(store: Store) -> None:
    await store.write(Create(POD, "u1", b"mine"))  # clock 1
    older = Register(*POD, BODY, "u1", "/gw-b:1", 1, 0, b"older")
    await store.merge(Delta("/gw-b:1", 0, 1, [older]))
    assert store.get(POD).body == b"mine"
    later = Register(*POD, BODY, "u1", "/gw-b:1", 2, 99, b"later")
    await store.merge(Delta("/gw-b:1", 1, 2, [later]))
    assert store.get(POD).body == b"later"
    revision = store.revision
    await store.merge(Delta("/gw-b:1", 0, 2, [older, later]))
    assert store.revision == revision
    assert store.held()["/gw-b:1"] == 2
    with pytest.raises(ConflictError, match="2 is held here"):
        await store.merge(Delta("/gw-b:1", 7, 9, []))
    [mine] = await store.write(Put(POD, b"again"))
    assert mine.body == b"again"
    assert store.delta(store.origin, 0).registers[-1].clock == 100


THEIR_STATUS = Register(*POD, STATUS, "u1", "/gw-b:1~1", 1, 50, b"theirs")


async def test_a_volatile_status_is_seen_watched_and_replicated_and_costs_no_flash(store: Store) -> None:
    [made] = await store.write(Create(POD, "u1", b"1", b"first"))
    before, written = store.held(), store._disk.writer.total_changes()
    [seen] = await store.write(PutStatus(POD, b"second", rv=made.rv, volatile=True))
    assert seen == store.get(POD) == store.list("widgets")[0]
    assert (seen.status, seen.rv) == (b"second", store.revision)
    assert [change.object.status for change in store.changes(made.rv)] == [b"second"]
    [fleeting] = store.held().keys() - before.keys()
    assert fleeting in store.origins
    assert [register.value for register in store.delta(fleeting, 0).registers] == [b"second"]
    await store.write(PutStatus(POD, b"second", volatile=True))
    assert store.revision == seen.rv
    await store.merge(Delta("/gw-b:1~1", 0, 1, [THEIR_STATUS]))
    assert store.get(POD).status == b"theirs"
    await store.merge(Delta("/gw-b:1~2", 0, 1, []))  # it starts again
    assert store.get(POD).status == b"second"
    assert store._disk.writer.total_changes() == written


async def test_a_durable_status_supersedes_a_volatile_one_of_the_same_words(store: Store) -> None:
    await store.write(Create(POD, "u1", b"1"))
    await store.write(PutStatus(POD, b"s", volatile=True))
    held = store.held()[store.origin]
    await store.write(PutStatus(POD, b"s"))
    assert store.held()[store.origin] == held + 1
    await store.write(PutStatus(POD, b"s"))
    assert store.held()[store.origin] == held + 1
    await store.write(PutStatus(POD, b"v", volatile=True), Delete(POD), Create(POD, "u2", b"2"))
    assert store.get(POD).status is None


async def test_too_many_volatile_statuses_are_durable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volatile, "MAX_OWN", 2)
    keys = [POD._replace(name=f"web-{number}") for number in range(4)]
    await store.write(*(Create(key, "u1", b"1") for key in keys))
    for key in keys:
        await store.write(PutStatus(key, b"s", volatile=True))
    assert [obj.status for obj in store.list("widgets")] == [b"s"] * 4
    assert store.held()[store.origin] == 4 + 2


async def test_what_is_volatile_is_lost_with_the_process_and_others_hear_of_it(tmp_path: Path, clock: Iterator[int]) -> None:
    async with (
        open_store(tmp_path / "a.db", origin="gw-a", stamp=lambda: next(clock), executor=Worker()) as store,
        open_store(":memory:", origin="gw-b", stamp=lambda: next(clock), executor=Inline()) as other,
    ):
        await store.write(Create(POD, "u1", b"1", b"durable"))
        await store.write(PutStatus(POD, b"volatile", volatile=True))
        revision = store.revision
        for origin in store.held():
            await other.merge(store.delta(origin, 0))
        assert other.get(POD).status == b"volatile"
        async with open_store(tmp_path / "a.db", origin="gw-a", stamp=lambda: next(clock), executor=Worker()) as again:
            assert again.get(POD).status == b"durable"
            assert again.revision > revision
            assert again.held().keys() - store.held().keys() == {"/" + again.origin.removeprefix("/") + "~2"}
            for origin in again.held():
                await other.merge(again.delta(origin, 0))
            assert other.get(POD).status == b"durable"


async def test_flash_that_forgets_under_a_running_store(store: Store, tmp_path: Path) -> None:
    await store.write(Create(POD, "u1", b"1", b"s"))
    [body, _] = store.delta(store.origin, 0).registers
    other = apsw.Connection(str(tmp_path / "store.db"))
    other.execute("UPDATE registers SET value = x'00' WHERE part = 'body'").fetchall()
    other.close()
    assert store.get(POD) is None
    assert store.damaged == {body.place}
    with pytest.raises(ConflictError, match="waits for another node's copy"):
        await store.write(Put(POD, b"2"))
    await store.restore([body])
    assert (store.get(POD).body, store.damaged) == (b"1", frozenset())
    await store.write(Put(POD, b"2"))


KILLED = textwrap.dedent(
    """
    import sys, itertools, trio
    from edged.kit.executor import Worker
    from edged.model.objects import Key
    from edged.store.store import open_store
    from edged.store.writes import Create

    async def main():
        clock = itertools.count(1)
        async with open_store(sys.argv[1], origin="gw-a", stamp=lambda: next(clock), executor=Worker()) as store:
            async def writer(task):
                for number in itertools.count():
                    await store.write(Create(Key("widgets", "default", f"{task}-{number}"), "u", b"{}"))
                    print(f"{task}-{number}", flush=True)
            async with trio.open_nursery() as nursery:
                for task in range(4):
                    nursery.start_soon(writer, task)
    trio.run(main)
    """
)


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        acknowledged = {child.stdout.readline().strip() for _ in range(200)}
        child.kill()
        acknowledged |= {line.strip() for line in child.stdout if line.endswith("\n")}
    clock = count(1)
    async with open_store(path, origin="gw-a", stamp=lambda: next(clock), executor=Worker()) as store:
        there = {obj.key.name for obj in store.list("widgets")}
    assert len(acknowledged) >= 200
    assert acknowledged <= there


async def test_a_file_that_is_damaged_is_begun_again_with_what_can_be_read(tmp_path: Path, clock: Iterator[int]) -> None:
    path, said = tmp_path / "store.db", io.StringIO()

    def opened() -> Any:
        log = Log(stream=said)
        return open_store(path, origin="gw-a", group="site", stamp=lambda: next(clock), executor=Worker(), log=log)

    async with opened() as store:
        for number in range(300):
            await store.write(Create(POD._replace(name=f"web-{number}"), f"u{number}", b"{}" * 500))
        origin, revision = store.origin, store.revision
    noise = bytearray(path.read_bytes())
    noise[40 * 4096 : 41 * 4096] = bytes(4096)
    path.write_bytes(noise)
    path.with_name("store.db-wal").write_bytes(b"an unclean end")
    async with opened() as store:
        assert 280 < len(store.list("widgets")) < 300
        assert store.origin != origin
        assert store.held()[store.origin] == len(store.list("widgets"))
        assert store.revision > revision
        await store.write(Create(POD._replace(name="new"), "u", b"{}"))
    assert said.getvalue().count('"error"') == 2


async def test_damage_that_is_met_at_run_time_ends_the_store_and_the_next_start_begins_again(tmp_path: Path) -> None:
    path, numbers, said = tmp_path / "store.db", count(1), io.StringIO()

    def opened() -> Any:
        return open_store(path, origin="gw-a", stamp=lambda: next(numbers), executor=Worker(), log=Log(stream=said))

    with pytest.RaisesGroup(pytest.RaisesExc(StorageError, match="the file is damaged .* at the next start")):
        async with opened() as store:
            await store.write(*(Create(POD._replace(name=f"web-{number}"), "u", b"{}" * 500) for number in range(300)))
            store._disk.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            store._disk.writer.execute("PRAGMA shrink_memory").fetchall()
            store._disk.reader.execute("PRAGMA shrink_memory").fetchall()
            noise = bytearray(path.read_bytes())
            noise[20 * 4096 :] = Random(1).randbytes(len(noise) - 20 * 4096)
            with path.open("r+b") as file:
                file.write(noise)
            with pytest.raises(StorageError, match="cannot be read: the file is damaged"):
                store.list("widgets")
            await trio.sleep_forever()
    async with opened() as store:
        assert 0 < len(store.list("widgets")) < 300
    assert [each.name for each in tmp_path.glob("store.db.damaged-*Z")] != []  # noqa: ASYNC240


async def test_nothing_of_a_secret_is_in_the_files(tmp_path: Path) -> None:
    path, secret, numbers = tmp_path / "store.db", Key("secrets", "default", "db"), count(1)
    body = b'{"data":{"password":"aHVudGVyMg=="}}'

    def opened() -> Any:
        said = io.StringIO()
        log = Log(stream=said)
        return said, open_store(path, origin="gw-a", stamp=lambda: next(numbers), executor=Worker(), log=log)

    def files() -> bytes:
        return b"".join(each.read_bytes() for each in tmp_path.glob("store.db*"))

    said, opening = opened()
    async with opening as store:
        await store.write(Create(secret, "u1", b'{"data":{"password":"c2VzYW1l"}}'))
        await store.write(Put(secret, body))
        assert store.get(secret).body == body
        assert store.delta(store.origin, 0).registers[0].value == body  # peers get it over their links, and seal it themselves
        assert path.with_name("store.db-wal").stat().st_size > 0
        assert b"aHVudGVyMg==" not in files()
        assert b"c2VzYW1l" not in files()
        place = store.delta(store.origin, 0).registers[0].place
    assert b"aHVudGVyMg==" not in files()
    path.with_name("store.key").rename(tmp_path / "lost")
    said, opening = opened()
    async with opening as store:
        assert store.get(secret) is None
        assert store.damaged == {place}
        assert "1 secrets do not open" in said.getvalue()
        await store.write(Create(POD, "u", b"{}"))  # the rest of the node works
        await store.write(Create(secret._replace(name="new"), "u", body))
        assert store.get(secret._replace(name="new")).body == body
    path.with_name("store.key").write_bytes(b"short")
    said, opening = opened()
    async with opening as store:
        assert "is no key" in said.getvalue()
        assert store.list("secrets") == []
    (tmp_path / "lost").rename(tmp_path / "store.key")
    _, opening = opened()
    async with opening as store:
        assert store.get(secret).body == body


async def test_a_secret_of_a_peer_heals_one_that_does_not_open(tmp_path: Path) -> None:
    secret, numbers = Key("secrets", "default", "db"), count(1)
    path = tmp_path / "store.db"
    async with open_store(path, origin="gw-a", stamp=lambda: next(numbers), executor=Worker()) as store:
        await store.write(Create(secret, "u1", b'{"data":{}}'))
        [register] = store.delta(store.origin, 0).registers
    path.with_name("store.key").unlink()
    log = Log(stream=io.StringIO())
    async with open_store(path, origin="gw-a", stamp=lambda: next(numbers), executor=Worker(), log=log) as store:
        await store.restore([register])
        assert (store.get(secret).body, store.damaged) == (b'{"data":{}}', frozenset())
