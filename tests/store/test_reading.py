from collections.abc import Iterator
from pathlib import Path

from edged.kit.executor import Worker
from edged.model.objects import Key
from edged.store.store import Store, open_store
from edged.store.writes import Create, Delete
from edged.wire.sync import BODY, Delta, Register

POD = Key("widgets", "default", "web-0")
MODEL = b'{"apiVersion":"devices.kubeedge.io/v1beta1","kind":"DeviceModel"}'


async def test_create_get_list(store: Store) -> None:
    assert store.get(POD) is None
    [made] = await store.write(Create(POD, "u1", b'{"a":1}', b'{"phase":"Pending"}'))
    assert store.get(POD) == made
    assert (made.uid, made.body, made.status, made.rv) == ("u1", b'{"a":1}', b'{"phase":"Pending"}', store.revision)
    other = Key("widgets", "prod", "api-0")
    await store.write(Create(other, "u2", b"{}"))
    assert [obj.key for obj in store.list("widgets")] == [POD, other]
    assert [obj.key for obj in store.list("widgets", "prod")] == [other]
    assert store.list("services") == []


async def test_other_scopes_are_held_and_not_seen(tmp_path: Path, clock: Iterator[int]) -> None:
    model = Key("devicemodels.devices.kubeedge.io", "default", "sensor")
    path = tmp_path / "store.db"
    async with open_store(path, origin="gw-a", group="site-1", stamp=lambda: next(clock), executor=Worker()) as store:
        await store.write(Create(POD, "u1", b"1"), Create(model, "u2", b"2"))
        fleet = f"*/{store.origin}"
        assert store.held() == {store.origin: 1, fleet: 1}
        revision = store.revision
        theirs = [Register(*POD, BODY, "u9", "site-2/gw-z:1", 1, 99, b"theirs")]
        await store.merge(Delta("site-2/gw-z:1", 0, 1, theirs))
        assert store.revision == revision + 1  # who passes it on is woken
        assert store.changes(revision) == []
        assert store.get(POD).body == b"1"
        assert store.delta("site-2/gw-z:1", 0).registers == theirs
        there = store.get(POD, "site-2")
        assert (there.uid, there.body, there.key) == ("u9", b"theirs", POD)
        assert store.list("widgets", group="site-2") == store.list("widgets", "default", "site-2") == [there]
        assert store.list("widgets", group="site-3") == []
        assert store.get(model, "site-2") == store.get(model)
        await store.merge(Delta("*/site-2/gw-z:1", 0, 1, [Register(*model, BODY, "u2", "*/site-2/gw-z:1", 1, 99, MODEL)]))
        assert store.get(model).body == MODEL


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
