from typing import Any

import pytest
import trio

from edged.device.rules import counts
from edged.device.rules.counts import MAX_ERRORS, Counts
from edged.model.kinds import BY_STRUCT
from edged.model.objects import Key, dump, typed
from edged.model.routing import Rule, RuleStatus
from edged.store.writes import Create

KEY = Key(BY_STRUCT[Rule].resource, "default", "up")
RULE = {"apiVersion": "rules.kubeedge.io/v1", "kind": "Rule", "metadata": {"name": "up", "namespace": "default"}}


async def counted(fleet: Any, counts: Counts, messages: int) -> RuleStatus:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(counts.run)
        with trio.fail_after(30):
            while True:
                seen = fleet.store.revision
                status = typed(fleet.store.get(KEY), Rule).status
                if status.success_messages + status.fail_messages == messages:
                    nursery.cancel_scope.cancel()
                    return status
                await fleet.store.changed(seen)
    raise AssertionError


async def test_counts_add_up_over_restarts_and_cost_no_flash(fleet_of_devices: Any) -> None:
    fleet = fleet_of_devices
    await fleet.store.write(Create(KEY, "uid", dump(RULE)))
    held = fleet.store.held()[fleet.store.origin]
    for rounds in (1, 2):
        made = Counts(fleet.store)
        for number in range(10):
            made.succeeded(KEY)
            made.failed(KEY, f"error {number} " + "x" * 500)
        status = await counted(fleet, made, 20 * rounds)
        assert (status.success_messages, status.fail_messages) == (10 * rounds, 10 * rounds)
    assert [each[:7] for each in status.errors] == [f"error {number}" for number in range(10 - MAX_ERRORS, 10)]
    assert all(len(each) == counts.MAX_ERROR for each in status.errors)
    assert fleet.store.held()[fleet.store.origin] == held


async def test_what_the_disk_refuses_and_whose_rule_is_gone(fleet_of_devices: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = fleet_of_devices
    monkeypatch.setattr(counts, "COUNT_S", 0.01)
    await fleet.store.write(Create(KEY, "uid", dump(RULE)))
    made = Counts(fleet.store)
    made.failed(Key(KEY.resource, "default", "gone"), "nobody sees this")
    made.problem(KEY, "this")
    made.failed(KEY, "this")
    status = await counted(fleet, made, 1)
    assert status == RuleStatus(0, 1, ("this",))
