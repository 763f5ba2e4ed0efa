import io

import trio
import trio.testing

from edged.kit.log import Log
from edged.model.objects import Key
from edged.store.writes import Create, Delete, PutStatus
from edged.sync.upkeep import CHECKPOINT_S, FORGET_S, TOMBSTONES_S, Upkeep

from .conftest import House

DEVICE = Key("devices.devices.kubeedge.io", "default", "thermometer")
BODY = b'{"apiVersion":"devices.kubeedge.io/v1beta1","kind":"Device"}'


def durable(house: House) -> list[bytes | None]:
    return [each.value for each in house.store.delta(house.store.origin, 0).registers if each.part == "status"]


async def test_readings_are_written_once_in_a_while_and_at_a_stop(house: House, autojump_clock: trio.testing.MockClock) -> None:
    upkeep = Upkeep(house.store, house.clock, Log(stream=io.StringIO()))
    await house.store.write(Create(DEVICE, "u", BODY))
    async with trio.open_nursery() as nursery:
        await nursery.start(upkeep.run)
        await house.store.write(PutStatus(DEVICE, b'{"state":"ok"}', volatile=True))
        await trio.sleep(CHECKPOINT_S - 1)
        assert durable(house) == []
        await trio.sleep(2)
        assert durable(house) == [b'{"state":"ok"}']
        await house.store.write(PutStatus(DEVICE, b'{"state":"online"}', volatile=True))
        await upkeep.stop()
        assert durable(house) == [b'{"state":"online"}']
        nursery.cancel_scope.cancel()


async def test_tombstones_are_kept_for_thirty_days(house: House, autojump_clock: trio.testing.MockClock) -> None:
    out = io.StringIO()
    upkeep = Upkeep(house.store, house.clock, Log(stream=out))
    await house.store.write(Create(DEVICE, "u", BODY))
    await house.store.write(Delete(DEVICE))
    async with trio.open_nursery() as nursery:
        await nursery.start(upkeep.run)
        house.skew = TOMBSTONES_S - 2 * FORGET_S
        await trio.sleep(1.5 * FORGET_S)
        assert len(house.store.delta(house.store.origin, 0).registers) == 1
        await trio.sleep(2 * FORGET_S)
        assert house.store.delta(house.store.origin, 0).registers == []
        assert house.store.floors() == {house.store.origin: 2}
        nursery.cancel_scope.cancel()
    assert "1 deletions of more than 30 days ago" in out.getvalue()
