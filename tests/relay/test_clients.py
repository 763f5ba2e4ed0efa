from random import Random
from typing import Any

import pytest
import trio
import trio_websocket

from edged.wire import relay as wire
from relay import clients, forwarder

DEADLINE_S = 30.0


async def test_two_nodes_meet_and_talk(serve: Any) -> None:
    async with serve() as running, running.node("gw-a") as a:
        async with running.node("gw-b") as b:
            presence = await a.until(wire.Presence)
            assert presence.node == "gw-b"
            assert (await b.until(wire.Presence)).node == "gw-a"
            await a.send(wire.Forward("gw-b", [b"one", b"two"]), wire.Forward("gw-b", [b"three"]))
            got: list[bytes] = []
            while len(got) < 3:
                got += (await b.until(wire.Deliver)).datagrams
            assert got == [b"one", b"two", b"three"]
        assert await a.until(wire.Absence) == wire.Absence("gw-b")


async def test_a_wrong_proof_is_refused_and_the_connection_closed(serve: Any, evil: Any) -> None:
    async with serve() as running, running.dial() as peer:
        challenge = await peer.until(wire.Challenge)
        await peer.send(evil.prove("gw-a", challenge.nonce))
        assert "not a certificate of this fleet" in (await peer.until(wire.Refused)).reason
        reason = await peer.closed()
        assert reason is not None
        assert running.relay.nodes == 0


async def test_a_proof_seen_on_another_connection_is_worth_nothing(serve: Any, acme: Any) -> None:
    async with serve() as running, running.dial() as first, running.dial() as second:
        seen = acme.prove("gw-a", (await first.until(wire.Challenge)).nonce)
        await second.until(wire.Challenge)
        await second.send(seen)
        assert "not by the certificate's key" in (await second.until(wire.Refused)).reason


async def test_a_newer_connection_replaces_the_older(serve: Any) -> None:
    async with serve() as running, running.node("gw-a") as older, running.node("gw-b") as b:
        first = await b.until(wire.Presence)
        async with running.node("gw-a") as newer:
            assert "newer connection" in (await older.until(wire.Refused)).reason
            await older.closed()
            second = await b.until(wire.Presence)
            assert second.session != first.session
            await b.send(wire.Forward("gw-a", [b"x"]))
            assert await newer.until(wire.Deliver) == wire.Deliver("gw-b", [b"x"])


async def test_a_port_that_nobody_uses_is_taken_back_and_both_are_told(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "EXPIRE_S", 0.02)
    monkeypatch.setattr(forwarder, "IDLE_S", 0.1)
    async with serve() as running, running.node("gw-a") as a, running.node("gw-b") as b:
        await a.send(wire.Allot("gw-b"))
        for peer, other in ((a, "gw-b"), (b, "gw-a")):
            told = await peer.until(wire.Allotted)
            while told.port:  # the outbox may have kept the later word only
                told = await peer.until(wire.Allotted)
            assert told == wire.Allotted(other, 0)
        assert running.relay.forwarder.ports == 0


async def test_silence_is_no_proof(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "PROOF_S", 2.0)
    async with serve() as running, running.dial() as peer:
        assert await peer.until(wire.Refused) == wire.Refused("no proof came in time")
        await peer.closed()
        assert running.relay.statistics.refused["late"] == 1


async def test_a_client_that_answers_no_ping_is_gone(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "PONG_S", 3.0)
    monkeypatch.setattr(clients, "KEEP_ALIVE_JITTER_S", 0.0)
    async with serve(keep_alive_s=0.05) as running, running.node("gw-b") as b, running.dial() as peer:
        challenge = await peer.until(wire.Challenge)
        await peer.send(running.fleet.prove("gw-a", challenge.nonce))
        await b.until(wire.Presence)
        await _stop_reading(peer)
        assert await b.until(wire.Absence) == wire.Absence("gw-a")
        assert running.relay.statistics.refused["silent"] == 1


async def _stop_reading(peer: Any) -> None:
    """From here on nothing takes what the relay sends: the reader task of the client's WebSocket is parked."""

    async def parked(max_bytes: int | None = None) -> bytes:
        await trio.sleep_forever()

    peer.websocket._stream.receive_some = parked


async def test_garbage_is_dropped_and_counted_and_the_member_stays(serve: Any) -> None:
    random = Random(7)
    async with serve() as running, running.node("gw-a") as a, running.node("gw-b") as b:
        for _ in range(50):
            await a.websocket.send_message(random.randbytes(random.randrange(200)))
        await a.websocket.send_message("text")
        await a.send(wire.Forward("gw-b", [b"still here"]))
        assert await b.until(wire.Deliver) == wire.Deliver("gw-a", [b"still here"])
        assert running.relay.statistics.dropped["unparsable"] == 51


async def test_a_message_over_the_limit_ends_its_connection_only(serve: Any) -> None:
    async with serve() as running, running.node("gw-b") as b:
        async with running.node("gw-a") as a:
            await a.websocket.send_message(bytes(wire.MAX_WS_FRAME + 1))
            reason = await a.closed()
            assert reason is not None
            assert reason.code == 1009
        assert await b.until(wire.Absence) == wire.Absence("gw-a")
        await running.until(lambda relay: relay.statistics.dropped["oversized"] == 1)


async def test_a_slow_reader_blocks_nobody_and_loses_the_oldest(serve: Any) -> None:
    """gw-s takes nothing; gw-a goes on sending to it and to gw-b; then gw-s reads again and has the newest."""
    async with serve() as running, running.node("gw-b") as b, running.node("gw-a") as a:
        gate = trio.Event()
        async with running.dial() as slow:
            challenge = await slow.until(wire.Challenge)
            await slow.send(running.fleet.prove("gw-s", challenge.nonce))
            await slow.until(wire.Welcome)
            _gated(slow, gate)
            sent = 0
            with trio.fail_after(DEADLINE_S):
                while running.relay.statistics.dropped["full"] < 100:
                    await a.send(
                        wire.Forward("gw-s", [sent.to_bytes(4, "big") + bytes(60_000)]), wire.Forward("gw-b", [b"tick"])
                    )
                    assert (await b.until(wire.Deliver)).datagrams == [b"tick"]
                    sent += 1
            gate.set()
            got: list[int] = []
            while not got or got[-1] != sent - 1:
                got += [int.from_bytes(datagram[:4], "big") for datagram in (await slow.until(wire.Deliver)).datagrams]
            assert got == sorted(set(got))
            assert len(got) == sent - running.relay.statistics.dropped["full"]


def _gated(peer: Any, gate: trio.Event) -> None:
    stream = peer.websocket._stream
    receive = stream.receive_some

    async def gated(max_bytes: int | None = None) -> bytes | bytearray:
        await gate.wait()
        data: bytes = await receive(max_bytes)
        return data

    stream.receive_some = gated


async def test_a_client_that_takes_nothing_for_long_is_gone(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "WRITE_S", 3.0)
    async with serve() as running, running.node("gw-a") as a, running.dial() as slow:
        challenge = await slow.until(wire.Challenge)
        await slow.send(running.fleet.prove("gw-s", challenge.nonce))
        await a.until(wire.Presence)
        await _stop_reading(slow)
        with trio.fail_after(DEADLINE_S):
            while not running.relay.statistics.refused["slow"]:
                await a.send(wire.Forward("gw-s", [bytes(60_000)]))
                await trio.sleep(0.001)
        assert await a.until(wire.Absence) == wire.Absence("gw-s")


async def test_another_subprotocol_is_turned_away(serve: Any) -> None:
    async with serve() as running:
        with pytest.RaisesGroup(trio_websocket.ConnectionRejected) as refused:
            async with running.dial(protocol="chat"):
                pass
        rejected = refused.value.exceptions[0]
        assert rejected.status_code == 400
        assert b"edged-relay" in (rejected.body or b"")
