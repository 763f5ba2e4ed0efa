"""The shell of leases: several memberships under one clock, whose pulses a test carries from one to another."""

import io
import json
from collections.abc import Callable
from itertools import count
from random import Random

import msgspec
import pytest
import trio
import trio.testing

from edged.errors import DeniedError, ProtocolError
from edged.identity.keyring import Keyring
from edged.kit.log import Log
from edged.sync.clock import Clock
from edged.sync.leases import RENEWALS, Leases
from edged.sync.membership import GATHER, Membership, View
from edged.sync.topology import FULL
from edged.wire.sync import Pulse

from .conftest import identity, keyring

LEASE = 10.0
EPOCH = 1_786_000_000.0
STAMPS = count(1)


class Hub:
    """The links of one node, as a test sets them."""

    def __init__(self) -> None:
        self.linked: frozenset[str] = frozenset()
        self._changed = trio.Event()

    def set(self, *names: str) -> None:
        self.linked = frozenset(names)
        self._changed.set()
        self._changed = trio.Event()

    async def changed(self, before: frozenset[str]) -> frozenset[str]:
        while self.linked == before:
            await self._changed.wait()
        return self.linked


def wall() -> float:
    return EPOCH + trio.current_time()


def made(name: str, hub: Hub, keys: Keyring, out: io.StringIO | None = None) -> Membership:
    leases = Leases(
        name, next(STAMPS), lease=LEASE, limited=False, stamp=lambda: next(STAMPS), wall=wall, now=trio.current_time()
    )
    return Membership(
        leases,
        "site",
        lambda: hub.linked,
        hub.changed,
        clock=Clock(wall),
        seal=identity(name).seal,
        verify=keys.verify,
        lease=LEASE,
        random=Random(1),
        log=Log(stream=out or io.StringIO()),
    )


async def carry(one: Membership, other: Membership) -> None:
    """Tell `other` whatever `one` has to tell, as an exchange does."""
    news = trio.Event()
    with one.listening(lambda: news.set()):  # noqa: PLW0108  a new event each time
        while True:
            other.receive(one.pulses, one.node)
            await news.wait()
            news = trio.Event()


async def until(membership: Membership, true: Callable[[View], bool]) -> View:
    with trio.fail_after(600):
        while not true(view := membership.view):
            await membership.changed(view)
        return view


@pytest.fixture
def keys() -> Keyring:
    return keyring("gw-a", "gw-b", "gw-c")


async def test_members_come_go_and_one_of_them_leads(keys: Keyring, autojump_clock: trio.testing.MockClock) -> None:
    hub = Hub()
    one, other = made("gw-a", hub, keys), made("gw-b", Hub(), keys)
    assert one.view == View(frozenset(), frozenset({"gw-a"}), None)
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as others:
                await others.start(other.run)
                others.start_soon(carry, one, other)
                others.start_soon(carry, other, one)
                hub.set("gw-b")
                view = await until(one, lambda view: bool(view.linked) and "gw-b" in view.members)
                assert view == View(frozenset({"gw-b"}), frozenset({"gw-a", "gw-b"}), None)
                await until(one, lambda view: view.holder == "gw-a")
                await until(other, lambda view: view.holder == "gw-a")
                assert one.leads
                assert not other.leads
                scope.cancel()
        hub.set()
        began = trio.current_time()
        view = await until(one, lambda view: "gw-b" not in view.members)
        assert trio.current_time() - began <= LEASE + 0.1
        assert view == View(frozenset(), frozenset({"gw-a"}), "gw-a")
        nursery.cancel_scope.cancel()


async def test_a_planned_stop_is_told_and_another_leads_at_once(keys: Keyring, autojump_clock: trio.testing.MockClock) -> None:
    one, other = made("gw-a", Hub(), keys), made("gw-b", Hub(), keys)
    one.informed()
    async with trio.open_nursery() as nursery:
        await nursery.start(other.run)
        async with trio.open_nursery() as carriers:
            carriers.start_soon(carry, one, other)
            async with trio.open_nursery() as first:
                await first.start(one.run)
                await until(other, lambda view: view.holder == "gw-a")
                other.informed()
                one.leave()
                await until(one, lambda view: view.holder is None)
                await trio.testing.wait_all_tasks_blocked()
                first.cancel_scope.cancel()
            began = trio.current_time()
            await until(other, lambda view: view.holder == "gw-b")
            assert trio.current_time() - began < 0.1
            carriers.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("others", "gathered"), [(2, LEASE / RENEWALS), (FULL + 2, GATHER * LEASE)])
async def test_pulses_that_are_news_are_passed_on_together(
    others: int, gathered: float, autojump_clock: trio.testing.MockClock
) -> None:
    names = [f"n{number}" for number in range(others)]
    middle = made("gw-b", Hub(), keyring("gw-b", *names))
    async with trio.open_nursery() as nursery:
        await nursery.start(middle.run)
        await trio.sleep(LEASE + 1)
        for number, most in ((1, 0.01), (2, gathered)):  # the first makes members, which is told at once
            began, told = trio.current_time(), trio.Event()
            with middle.listening(told.set):
                for name in names:
                    middle.receive([pulse(name, number)], name)
                await told.wait()
            assert trio.current_time() - began <= most
            assert {each.node for each in middle.pulses} == {"gw-b", *names}
            await trio.sleep(1)
        nursery.cancel_scope.cancel()


def pulse(name: str, number: int, *, ahead: float = 0.0, by: str = "", group: str = "site") -> Pulse:
    plain = Pulse(name, 7, number, wall() + ahead, LEASE)
    signer = identity(by or name) if group == "site" else identity(by or name, group)
    return msgspec.structs.replace(plain, signature=signer.seal(plain.signed_bytes()))


async def test_forged_pulses_are_refused(keys: Keyring) -> None:
    keys.learn(identity("gw-x", "elsewhere").certificate_der)
    membership = made("gw-a", Hub(), keys)
    for forged, reason in (
        (pulse("gw-b", 1, by="gw-c"), "by spiffe://test/group/site/node/gw-c"),
        (pulse("gw-x", 1, group="elsewhere"), "by spiffe://test/group/elsewhere/node/gw-x"),
        (msgspec.structs.replace(pulse("gw-b", 1), number=2), "the signature is not by"),
        (pulse("gw-d", 1), "a key that is not known here"),
    ):
        with pytest.raises(ProtocolError, match=reason):
            membership.receive([forged], "gw-b")
    assert membership.view.members == {"gw-a"}
    membership.receive([pulse("gw-a", 99, by="gw-b")], "gw-b")  # of ourselves we know better
    assert membership.pulses == []


async def test_a_wrong_clock_is_refused_to_its_node_and_left_out_from_others(keys: Keyring) -> None:
    membership = made("gw-a", Hub(), keys)
    with pytest.raises(DeniedError, match="the clock of gw-b is 24 h ahead"):
        membership.receive([pulse("gw-b", 1, ahead=86_400)], "gw-b")
    membership.receive([pulse("gw-b", 1, ahead=86_400), pulse("gw-c", 1)], "gw-c")
    assert membership.view.members == {"gw-a", "gw-c"}


async def test_who_holds_the_lease_is_logged(keys: Keyring, autojump_clock: trio.testing.MockClock) -> None:
    out = io.StringIO()
    membership = made("gw-a", Hub(), keys, out)
    async with trio.open_nursery() as nursery:
        await nursery.start(membership.run)
        await until(membership, lambda view: view.holder is not None)
        nursery.cancel_scope.cancel()
    assert "the group's lease: gw-a holds it" in [json.loads(line)["message"] for line in out.getvalue().splitlines()]
