import math
import socket
from collections.abc import Awaitable, Callable
from io import StringIO
from typing import Any

import pytest
import trio

from edged.hub.beacon import Hint
from edged.identity.bundle import Bundle
from edged.identity.node import Identity
from edged.kit.address import Address
from edged.kit.log import Log
from edged.wire.peer import Tunnel

Until = Callable[[Callable[[], bool]], Awaitable[None]]
WEB = Tunnel("default", "web", 80, "web-1")


async def test_a_configured_address_needs_no_relay(acme: Any, look: Any, start_hub: Any) -> None:
    async with start_hub(acme.identity("gw-b"), acme.verifier) as (b, address):
        async with start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}) as (a, _):
            await look.linked(a, "gw-b")
            await look.linked(b, "gw-a")
            await look.says(a, "gw-b")
            await look.says(b, "gw-a")
        await look.linked(b)  # told at once, not after the idle timeout


async def test_the_higher_name_dials_when_it_alone_knows_an_address(acme: Any, look: Any, start_hub: Any) -> None:
    async with (
        start_hub(acme.identity("gw-a"), acme.verifier) as (a, address),
        start_hub(acme.identity("gw-b"), acme.verifier, peers={"gw-a": [f"localhost:{address.port}"]}) as (b, _),
    ):
        await look.linked(b, "gw-a")
        await look.linked(a, "gw-b")
        await look.says(a, "gw-b")


async def test_both_sides_dial_and_agree_on_one_link(acme: Any, look: Any, start_hub: Any, until: Until) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with (
        start_hub(acme.identity("gw-b"), acme.verifier, peers={"gw-a": [f"127.0.0.1:{port}"]}) as (b, b_address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(b_address)]}, port=port) as (a, _),
    ):
        look.inner(b)._dialling.dial(look.inner(b).peers["gw-a"])  # the higher name does not wait for the lower one
        await look.linked(a, "gw-b")
        await look.linked(b, "gw-a")
        await until(lambda: len(look.inner(a).switch.connections) == len(look.inner(b).switch.connections) == 1)
        (ours,), (theirs,) = look.inner(a).switch.connections, look.inner(b).switch.connections
        assert ours.probes.link_id == theirs.probes.link_id
        assert ours.link.dialled
        await look.says(b, "gw-a")


@pytest.mark.parametrize("restarted", ["gw-a", "gw-b"])
async def test_a_restarted_node_gets_a_new_link_soon(
    acme: Any, look: Any, start_hub: Any, start_relay: Any, restarted: str
) -> None:
    stays = "gw-b" if restarted == "gw-a" else "gw-a"
    url = (await start_relay(acme.verifier)).url
    async with start_hub(acme.identity(stays), acme.verifier, relays=[url]) as (staying, _):
        async with start_hub(acme.identity(restarted), acme.verifier, relays=[url]) as (first, _):
            await look.linked(first, stays)
            await look.linked(staying, restarted)
            old = await staying.open_stream(restarted, WEB)
            look.inner(first).switch.send = lambda *_: None  # it dies without a word
            look.inner(first).switch.probe = lambda *_: None
        async with start_hub(acme.identity(restarted), acme.verifier, relays=[url]) as (second, _):
            await look.linked(second, stays)
            await look.linked(staying, restarted)
            await look.says(second, stays)
            # Not by QUIC's idle timeout, which would take 10 s.
            with pytest.raises(trio.BrokenResourceError, match=r"replaced by a newer|does not know this link"):
                await old.receive_some()
            await old.aclose()
            await look.says(staying, restarted)


async def test_a_relay_that_comes_back_does_not_disturb_a_direct_link(
    acme: Any, look: Any, start_hub: Any, start_relay: Any, until: Until
) -> None:
    relay = await start_relay(acme.verifier)
    async with (
        start_hub(acme.identity("gw-a"), acme.verifier, relays=[relay.url]) as (a, _),
        start_hub(acme.identity("gw-b"), acme.verifier, relays=[relay.url]) as (b, _),
    ):
        await look.linked(a, "gw-b")
        await look.linked(b, "gw-a")
        await until(lambda: look.path(a) == look.path(b) == "lan")
        stream = await a.open_stream("gw-b", WEB)
        await relay.stop()
        await until(lambda: a.statistics().relay is None and b.statistics().relay is None)
        await start_relay(acme.verifier, int(relay.url.rpartition(":")[2]))
        await until(lambda: a.statistics().relay == b.statistics().relay == relay.url)
        await until(lambda: look.inner(a).peers["gw-b"].session is not None)
        await trio.sleep(2.0)  # longer than a peer has to answer when it is asked whether it was restarted
        await stream.send_all(b"same stream")
        assert await stream.receive_some() == b"same stream"
        await stream.aclose()


async def test_a_beacon_is_verified_only_when_it_may_change_something(
    acme: Any, look: Any, start_hub: Any, until: Until
) -> None:
    async with (
        start_hub(acme.identity("gw-b"), acme.verifier) as (_, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}) as (a, _),
    ):
        inner, elsewhere = look.inner(a), Address("127.0.0.1", 9)
        again = Hint("gw-b", address.port, fresh=False)
        await look.linked(a, "gw-b")
        await until(lambda: look.path(a) == "lan")
        assert inner.known(again, elsewhere)
        assert not inner.known(again._replace(fresh=True), address)  # it may have been restarted
        assert not inner.known(again._replace(node="gw-c"), elsewhere)
        a.want(frozenset({"gw-b"}))
        inner.found(Hint("gw-c", 9, fresh=True), elsewhere)
        assert a.known == {"gw-b", "gw-c"}
        assert inner.known(Hint("gw-c", 9, fresh=False), elsewhere)  # it is not wanted, and where it is we know
        assert not inner.known(Hint("gw-c", 9, fresh=False), address)
        a.want(None)
        assert not inner.known(Hint("gw-c", 9, fresh=False), elsewhere)
        inner.found(Hint("gw-d", 9, fresh=True), Address("239.255.74.0", 9))
        assert "gw-d" not in a.known


async def test_a_beacon_of_a_restart_asks_the_link_whether_it_lives(acme: Any, look: Any, start_hub: Any, until: Until) -> None:
    async with (
        start_hub(acme.identity("gw-b"), acme.verifier) as (_, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}) as (a, _),
    ):
        await look.linked(a, "gw-b")
        (connection,) = look.inner(a).switch.connections
        look.inner(a).found(Hint("gw-b", address.port, fresh=True), address)
        assert connection.link._check_by < math.inf
        await until(lambda: connection.link._check_by == math.inf)  # it did
        await look.says(a, "gw-b")
        assert not connection.over.is_set()


WRONG = {
    "another fleet": "issuer certificate",
    "another name": "unacceptable",
    "another group": "spiffe://acme/group/yard/node/gw-b answered where node gw-b was dialled",
    "a stolen certificate": "the proof is not by the certificate's key",
}


@pytest.mark.parametrize("who", WRONG)
async def test_who_is_not_the_peer_gets_no_link(acme: Any, evil: Any, start_hub: Any, until: Until, who: str) -> None:
    dialling, answering, verifier = acme.identity("gw-a"), acme.identity("gw-b"), acme.verifier
    if who == "another fleet":
        answering, verifier = evil.identity("gw-b"), evil.verifier
    elif who == "another name":
        answering = acme.identity("gw-c")
    elif who == "another group":
        answering = acme.identity("gw-b", "yard")
    else:
        dialling = Identity(Bundle(evil.identity("gw-a").key_pem, dialling.certificate_pem, dialling.authority_pem, ()))
    said = StringIO()
    async with (
        start_hub(answering, verifier) as (b, address),
        start_hub(dialling, acme.verifier, peers={"gw-b": [str(address)]}, log=Log(stream=said)) as (a, _),
    ):
        await until(lambda: "no link to gw-b" in said.getvalue())
        assert WRONG[who] in said.getvalue()
        assert a.linked == b.linked == frozenset()
