import io
from typing import Any

from edged.kit.log import Log
from edged.model import names
from edged.model.core import Event
from edged.model.objects import Key, Object, dump, typed
from edged.store.events import KEEP_S, MAX_OWN, NORMAL, REPEAT_S, WARNING, Recorder
from edged.store.store import Store
from edged.store.writes import Create, Put

POD = Key("pods", "default", "web-0")


class Wall:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


async def recorder(store: Store) -> tuple[Recorder, Wall, Object]:
    wall, out = Wall(), io.StringIO()
    [about] = await store.write(Create(POD, "u1", dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0"}})))
    return Recorder(store, "edged-runtime", "gw-a", wall, Log(stream=out)), wall, about


def events(store: Store) -> list[Any]:
    return [typed(obj, Event) for obj in store.list("events")]


async def test_the_same_event_is_counted_and_seldom_written(store: Store) -> None:
    made, wall, about = await recorder(store)
    await made.record(about, NORMAL, "Started", "Started container c")
    [event] = events(store)
    assert (event.reason, event.message, event.type, event.count) == ("Started", "Started container c", "Normal", 1)
    assert (event.involved_object.kind, event.involved_object.name, event.involved_object.uid) == ("Pod", "web-0", "u1")
    assert event.source.host == "gw-a"
    revision = store.revision
    for _ in range(100):
        await made.record(about, NORMAL, "Started", "Started container c")
    assert store.revision == revision
    wall.now += REPEAT_S
    await made.record(about, NORMAL, "Started", "Started container c")
    assert [event.count for event in events(store)] == [2]
    await made.record(about, WARNING, "BackOff", "Back-off restarting failed container")
    assert len(events(store)) == 2


async def test_old_events_go_and_others_stay(store: Store) -> None:
    made, wall, about = await recorder(store)
    await made.record(about, NORMAL, "Old", "old")
    await Recorder(store, "x", "gw-b", wall, Log(stream=io.StringIO())).record(about, NORMAL, "Theirs", "theirs")
    wall.now += KEEP_S + 1
    await made.record(about, NORMAL, "New", "new")
    await made.prune()
    assert sorted(event.reason for event in events(store)) == ["New", "Theirs"]


async def test_there_are_never_many(store: Store) -> None:
    made, wall, about = await recorder(store)
    for number in range(MAX_OWN + 20):
        wall.now += 1
        await made.record(about, NORMAL, "Many", f"number {number}")
    await made.prune()
    left = events(store)
    assert len(left) == MAX_OWN
    assert "number 0" not in {event.message for event in left}


async def test_names_are_names_and_times_may_be_no_times(store: Store) -> None:
    made, _, about = await recorder(store)
    long = about._replace(key=POD._replace(name="a" * 199 + "." + "b" * 50))
    await made.record(long, NORMAL, "Long", "long")
    [obj] = store.list("events")
    assert names.subdomain(obj.key.name) is None
    body = obj.body.replace(b"2023-11-14T22:13:20Z", b"yesterday")
    assert body != obj.body
    await store.write(Put(obj.key, body))
    await made.record(long, NORMAL, "Long", "long")
    assert [event.count for event in events(store)] == [2]
    await store.write(Put(obj.key, body))
    await made.prune()
    assert events(store) == []
