from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from edged.errors import AlreadyExistsError, NotFoundError
from edged.kit.executor import Worker
from edged.model.objects import Key
from edged.store.commits import MAX_GROUP
from edged.store.store import Store, open_store
from edged.store.writes import Create, Put

POD = Key("widgets", "default", "web-0")


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
    assert len(store.list("widgets")) == 50
    numbers = [change.rv for change in store.changes(0)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 50


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
        assert [obj.key.name for obj in store.list("widgets")] == ["after", "web-0"]
