"""Whom a node dials and when: real hubs on loopback."""

import math
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from edged.errors import UnreachableError
from edged.hub import link, linker, pairing
from edged.hub.beacon import Hint
from edged.hub.book import MAX_BLAMES, Book
from edged.hub.candidates import candidates
from edged.hub.dialling import Dialling
from edged.hub.linker import NOT_NEEDED
from edged.hub.memory import FILE
from edged.kit.address import Address
from edged.wire.peer import Tunnel

Until = Callable[[Callable[[], bool]], Awaitable[None]]
WEB = Tunnel("default", "web", 80, "web-1")
NOBODY: frozenset[str] = frozenset()
DEADLINE_S = 60.0


@pytest.fixture
def dials(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whom was dialled, in order."""
    dialled: list[str] = []
    real = Dialling.dial

    def dial(self: Dialling, peer: Any) -> Any:
        dialled.append(peer.name)
        return real(self, peer)

    monkeypatch.setattr(Dialling, "dial", dial)
    return dialled


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The higher name leaves the lower one for ever to dial."""
    monkeypatch.setattr(pairing, "DEFER_S", 1000.0)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unused links go soon."""
    monkeypatch.setattr(linker, "LOOK_S", 0.02)
    monkeypatch.setattr(pairing, "UNUSED_S", 0.1)


def remembering(directory: Path, node: str, address: Address) -> Path:
    """A state directory where `node` was last known at `address`."""
    book = Book("acme/site", lambda texts: candidates(texts, ipv6=False, loopback=True))
    book.proved(node, address, time.time())
    (directory / FILE).write_bytes(book.dump())
    return directory


async def test_known_nodes_that_are_not_wanted_cost_nothing(acme: Any, start_hub: Any, dials: list[str]) -> None:
    peers = {f"gw-{number}": ["127.0.0.1:9"] for number in range(100)}
    async with start_hub(acme.identity("gw-a"), acme.verifier, peers=peers, wants=NOBODY) as (a, _):
        await trio.testing.wait_all_tasks_blocked()
        assert a.known == frozenset(peers)
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline > linker.LOOK_S - 5  # the look is the only timer
    assert dials == []


@pytest.mark.parametrize("caller", ["gw-a", "gw-b"])
@pytest.mark.usefixtures("patient")
async def test_a_node_is_dialled_when_it_is_called(acme: Any, look: Any, start_hub: Any, dials: list[str], caller: str) -> None:
    called = "gw-b" if caller == "gw-a" else "gw-a"
    async with (
        start_hub(acme.identity(called), acme.verifier, wants=NOBODY) as (_, address),
        start_hub(acme.identity(caller), acme.verifier, peers={called: [str(address)]}, wants=NOBODY) as (hub, _),
    ):
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert hub.linked == NOBODY
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(look.says, hub, called)
        assert dials == [called]
        assert hub.linked == {called}
        assert hub.neighbours == NOBODY


@pytest.mark.usefixtures("patient")
async def test_a_call_goes_through_the_relay_too(acme: Any, look: Any, start_hub: Any, start_relay: Any) -> None:
    url = (await start_relay(acme.verifier)).url
    async with (
        start_hub(acme.identity("gw-a"), acme.verifier, relays=[url], wants=NOBODY) as (a, _),
        start_hub(acme.identity("gw-b"), acme.verifier, relays=[url], wants=NOBODY) as (b, _),
    ):
        with trio.fail_after(DEADLINE_S):
            assert await b.known_changed(NOBODY) == {"gw-a"}
        await look.says(b, "gw-a")
        await look.linked(a, "gw-b")


@pytest.mark.usefixtures("hasty")
async def test_a_link_that_nobody_wants_goes_and_comes_again(
    acme: Any, look: Any, start_hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        start_hub(acme.identity("gw-b"), acme.verifier, wants=NOBODY) as (b, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}, wants=NOBODY) as (a, _),
    ):
        stream = await a.open_stream("gw-b", WEB)
        await trio.sleep(0.5)  # much longer than an unused link lives
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"
        await stream.aclose()
        await look.linked(a)
        await look.linked(b)
        monkeypatch.setattr(pairing, "UNUSED_S", math.inf)  # on a busy machine a handshake takes longer than hasty links live
        await look.says(a, "gw-b")
        await look.linked(b, "gw-a")
        assert look.inner(a).peers["gw-b"].failure == ""


@pytest.mark.parametrize("closes", ["gw-a", "gw-b"])
async def test_a_call_that_comes_just_when_its_link_goes_makes_another(
    acme: Any, look: Any, start_hub: Any, dials: list[str], closes: str
) -> None:
    async with (
        start_hub(acme.identity("gw-b"), acme.verifier, wants=NOBODY) as (b, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}, wants=NOBODY) as (a, _),
    ):
        closing = a if closes == "gw-a" else b
        for _ in range(5):
            await look.says(a, "gw-b")
            await look.linked(b, "gw-a")
            look.inner(closing).drop("gw-b" if closing is a else "gw-a", NOT_NEEDED)  # the other end does not know yet
        await look.says(a, "gw-b")
        assert dials == ["gw-b"] * 6
        assert look.inner(a).peers["gw-b"].failure == ""


@pytest.mark.usefixtures("hasty")
async def test_a_link_that_one_end_wants_stays_until_it_does_not(acme: Any, look: Any, start_hub: Any, until: Until) -> None:
    async with (
        start_hub(acme.identity("gw-b"), acme.verifier, wants=NOBODY) as (b, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}) as (a, _),
    ):
        await look.linked(a, "gw-b")
        with trio.fail_after(DEADLINE_S):
            assert await b.neighbours_changed(NOBODY) == {"gw-a"}
        connection = await look.inner(b).connection("gw-a")
        await trio.sleep(0.5)  # much longer than an unused link lives
        assert not connection.over.is_set()
        b.want(frozenset({"gw-a"}))
        await until(lambda: look.inner(a).peers["gw-b"].connection.wanted is True)
        a.want(NOBODY)
        await until(lambda: connection.wanted is False)
        await trio.sleep(0.3)
        assert not connection.over.is_set()
        b.want(NOBODY)
        await look.linked(a)
        await look.linked(b)
        assert connection.reason == "not needed now"
        a.want(None)
        await look.linked(b, "gw-a")


@pytest.mark.usefixtures("patient")
async def test_the_higher_name_dials_whom_the_lower_does_not_want(
    acme: Any, look: Any, start_hub: Any, start_relay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairing, "DEFER_S", 0.1)
    url = (await start_relay(acme.verifier)).url
    async with (
        start_hub(acme.identity("gw-a"), acme.verifier, relays=[url], wants=NOBODY) as (a, _),
        start_hub(acme.identity("gw-b"), acme.verifier, relays=[url]) as (b, _),
    ):
        await look.linked(b, "gw-a")
        await look.linked(a, "gw-b")


async def test_who_does_not_answer_is_not_waited_for_by_each(
    acme: Any, start_hub: Any, dials: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "ANSWER_S", 0.5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        peers = {"gw-b": [f"127.0.0.1:{silent.getsockname()[1]}"], "gw-c": []}
        async with start_hub(acme.identity("gw-a"), acme.verifier, peers=peers, wants=NOBODY) as (a, _):
            with pytest.raises(UnreachableError, match="no way to it is known"):
                await a.open_stream("gw-c", WEB)
            for _ in range(100):
                with pytest.raises(UnreachableError, match="no link to node gw-b: not authenticated within"):
                    await a.open_stream("gw-b", WEB)
            assert 1 <= len(dials) <= 20
            a.want(None)
            with pytest.raises(UnreachableError, match="no link to node gw-b"):
                await a.open_stream("gw-b", WEB)


async def test_a_node_is_dialled_where_it_was_last(acme: Any, look: Any, start_hub: Any, tmp_path: Path) -> None:
    async with start_hub(acme.identity("gw-b"), acme.verifier) as (b, address):
        state = remembering(tmp_path, "gw-b", address)
        async with start_hub(acme.identity("gw-a"), acme.verifier, state_dir=state) as (a, _):
            assert a.known == {"gw-b"}
            await look.linked(a, "gw-b")
            await look.linked(b, "gw-a")


async def test_an_address_that_went_to_another_node_is_dropped(
    acme: Any, start_hub: Any, tmp_path: Path, dials: list[str], until: Until
) -> None:
    async with start_hub(acme.identity("gw-c"), acme.verifier) as (c, address):
        state = remembering(tmp_path, "gw-b", address)
        async with start_hub(acme.identity("gw-a"), acme.verifier, state_dir=state) as (a, _):
            await until(lambda: len(dials) == MAX_BLAMES)
            with trio.fail_after(DEADLINE_S):
                while True:
                    try:
                        await a.open_stream("gw-b", WEB)
                    except UnreachableError as error:
                        if "no way to it is known" in str(error):
                            break
                    await trio.sleep(0.01)
            assert dials == ["gw-b"] * MAX_BLAMES
            assert a.linked == c.linked == NOBODY


async def test_a_stale_address_does_not_keep_a_node_away(acme: Any, look: Any, start_hub: Any, tmp_path: Path) -> None:
    async with (
        start_hub(acme.identity("gw-b"), acme.verifier) as (_, right),
        start_hub(acme.identity("gw-c"), acme.verifier) as (_, wrong),
    ):
        state = remembering(tmp_path, "gw-b", wrong)
        async with start_hub(acme.identity("gw-a"), acme.verifier, state_dir=state, peers={"gw-b": [str(right)]}) as (a, _):
            await look.linked(a, "gw-b")


async def test_a_beacon_makes_a_silent_dial_begin_anew(acme: Any, look: Any, start_hub: Any, until: Until) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        peers = {"gw-b": [f"127.0.0.1:{silent.getsockname()[1]}"]}
        async with (
            start_hub(acme.identity("gw-b"), acme.verifier) as (_, address),
            start_hub(acme.identity("gw-a"), acme.verifier, peers=peers) as (a, _),
        ):
            inner = look.inner(a)
            await until(lambda: bool(inner.switch.connections))
            (first,) = inner.switch.connections
            first.began -= 3.0  # it has been silent for long
            inner.found(Hint("gw-b", address.port, fresh=True), address)
            assert first.over.is_set()
            await look.linked(a, "gw-b")
