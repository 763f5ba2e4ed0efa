import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio
import trio.testing

from edged.errors import AlreadyExistsError, ConflictError, ExpiredError, NotFoundError, StorageError
from edged.kit.executor import Inline, Worker
from edged.model.objects import Key
from edged.store.store import MAX_GROUP, Store, open_store
from edged.store.writes import Create, Delete, Put, PutStatus
from edged.wire.sync import BODY, Delta, Register

POD = Key("pods", "default", "web-0")


async def test_create_get_list(store: Store) -> None:
    assert store.get(POD) is None
    [made] = await store.write(Create(POD, "u1", b'{"a":1}', b'{"phase":"Pending"}'))
    assert store.get(POD) == made
    assert (made.uid, made.body, made.status, made.rv) == ("u1", b'{"a":1}', b'{"phase":"Pending"}', store.revision)
    other = Key("pods", "prod", "api-0")
    await store.write(Create(other, "u2", b"{}"))
    assert [obj.key for obj in store.list("pods")] == [POD, other]
    assert [obj.key for obj in store.list("pods", "prod")] == [other]
    assert store.list("services") == []


async def test_create_twice(store: Store) -> None:
    await store.write(Create(POD, "u1", b"{}"))
    with pytest.raises(AlreadyExistsError, match='pods "web-0" already exists'):
        await store.write(Create(POD, "u2", b"{}"))
    assert store.get(POD).uid == "u1"


async def test_put_checks_the_version(store: Store) -> None:
    with pytest.raises(NotFoundError, match='pods "web-0" not found'):
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


async def test_a_transaction_is_whole_or_nothing(store: Store) -> None:
    other = POD._replace(name="web-1")
    with pytest.raises(NotFoundError):
        await store.write(Create(POD, "u1", b"1"), Put(other, b"2"))
    assert store.get(POD) is None
    assert store.changes(0) == []
    await store.write(Create(POD, "u1", b"1"), Create(other, "u2", b"2"))
    assert [change.object.key for change in store.changes(0)] == [POD, other]


async def test_one_refusal_does_not_touch_its_group(store: Store) -> None:
    results: dict[int, str] = {}

    async def one(number: int) -> None:
        key = POD._replace(name=f"web-{number % 50}")
        try:
            await store.write(Create(key, f"u{number}", b"{}"))
            results[number] = "made"
        except AlreadyExistsError:
            results[number] = "refused"

    async with trio.open_nursery() as nursery:
        for number in range(3 * MAX_GROUP):
            nursery.start_soon(one, number)
    assert sorted(results.values()).count("made") == 50
    assert len(store.list("pods")) == 50
    numbers = [change.rv for change in store.changes(0)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 50


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
        assert (store.get(POD), store.origin, store.revision) == (kept, origin, revision)
        assert store.latest_clock >= 1
        with pytest.raises(ExpiredError):
            store.changes(0)
        assert store.changes(revision) == []
        await store.write(Put(POD, b"2"))
        assert len(store.changes(revision)) == 1


async def test_two_files_of_one_node_have_two_origins(tmp_path: Path) -> None:
    origins = set()
    for name in ("one", "two"):
        async with open_store(tmp_path / name, origin="gw-a", stamp=lambda: 1, executor=Inline()) as store:
            origins.add(store.origin)
    assert len(origins) == 2
    assert all(origin.startswith("gw-a:") for origin in origins)


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
async def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"store\.db"):
        async with open_store(path, origin="gw-a", stamp=lambda: 1, executor=Worker()):
            pass


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
    writer = store._connections[0]
    pages = writer.pragma("page_count")
    writer.pragma("max_page_count", pages)
    with pytest.raises(StorageError, match="takes no writes"):
        await store.write(Create(POD._replace(name="big"), "u2", b"x" * 1_000_000))
    assert store.get(POD).body == b"1"
    writer.pragma("max_page_count", 1 << 30)
    await store.write(Create(POD._replace(name="big"), "u2", b"x" * 1_000_000))
    assert [change.object.key.name for change in store.changes(0)] == ["web-0", "big"]


async def test_merge_takes_later_registers_only(store: Store) -> None:
    await store.write(Create(POD, "u1", b"mine"))  # clock 1
    older = Register(*POD, BODY, "u1", "gw-b:1", 1, 0, b"older")
    await store.merge(Delta("gw-b:1", 0, 1, [older]))
    assert store.get(POD).body == b"mine"
    later = Register(*POD, BODY, "u1", "gw-b:1", 2, 99, b"later")
    await store.merge(Delta("gw-b:1", 1, 2, [later]))
    assert store.get(POD).body == b"later"
    revision = store.revision
    await store.merge(Delta("gw-b:1", 0, 2, [older, later]))
    assert store.revision == revision
    assert store.held()["gw-b:1"] == 2
    with pytest.raises(ConflictError, match="2 is held here"):
        await store.merge(Delta("gw-b:1", 7, 9, []))
    [mine] = await store.write(Put(POD, b"again"))
    assert mine.body == b"again"
    assert store.delta(store.origin, 0).registers[-1].clock == 100


async def test_delta_is_what_the_other_lacks(store: Store) -> None:
    for number in range(600):
        await store.write(Create(POD._replace(name=f"web-{number}"), "u", b"{}"))
    await store.write(Delete(POD._replace(name="web-0")))
    got: dict[str, bytes | None] = {}
    since, rounds = 0, 0
    while since < store.held()[store.origin]:
        delta = store.delta(store.origin, since)
        assert delta.since == since
        assert [register.seq for register in delta.registers] == sorted(register.seq for register in delta.registers)
        got |= {register.name: register.value for register in delta.registers}
        since, rounds = delta.upto, rounds + 1
    assert rounds == 3
    assert len(got) == 600
    assert got["web-0"] is None
    assert store.delta("nobody", 0) == Delta("nobody", 0, 0, [])


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
                    await store.write(Create(Key("pods", "default", f"{task}-{number}"), "u", b"{}"))
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
        there = {obj.key.name for obj in store.list("pods")}
    assert len(acknowledged) >= 200
    assert acknowledged <= there


async def test_who_gives_up_before_its_turn_writes_nothing(tmp_path: Path) -> None:
    gate = trio.Event()

    class Slow(Worker):
        async def run(self, function: Any) -> Any:
            if commits:
                await gate.wait()
            return await super().run(function)

    commits: list[None] = []
    numbers = count(1)
    async with open_store(tmp_path / "s.db", origin="gw-a", stamp=lambda: next(numbers), executor=Slow()) as store:
        commits.append(None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, Create(POD, "u1", b"{}"))
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as impatient:
                for number in range(1, 5):
                    impatient.start_soon(store.write, Create(POD._replace(name=f"web-{number}"), f"u{number}", b"{}"))
                await trio.testing.wait_all_tasks_blocked()
                impatient.cancel_scope.cancel()
            gate.set()
        await store.write(Create(POD._replace(name="after"), "after", b"{}"))
        assert [obj.key.name for obj in store.list("pods")] == ["after", "web-0"]
