from random import Random
from typing import Any

import pytest
import trio

from edged.errors import DeniedError, UnreachableError
from edged.hub.hub import Hub
from edged.hub.quic import MAX_STREAMS
from edged.hub.stream import LinkStream
from edged.kit.log import Log
from edged.wire.codec import framed
from edged.wire.peer import ANSWER, Logs, Opened, Opening, Refused, Sync, Tunnel

DEADLINE_S = 60.0
WEB = Tunnel("default", "web", 80, "web-1")


async def test_openings_that_are_refused(acme: Any, look: Any, start_hub: Any) -> None:
    async def refuse(_peer: str, _opening: Opening, stream: LinkStream) -> None:
        await stream.send_all(framed(ANSWER.encode(Refused("not today"))))

    async with (
        start_hub(acme.identity("gw-b"), acme.verifier, handlers={Tunnel: refuse}) as (b, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}) as (a, _),
    ):
        await look.linked(a, "gw-b")
        with pytest.raises(DeniedError, match="not today"):
            await a.open_stream("gw-b", WEB)
        with pytest.raises(DeniedError, match="no Sync streams"):
            await a.open_stream("gw-b", Sync(1))
        with pytest.raises(UnreachableError, match="no link to node gw-c"):
            await a.open_stream("gw-c", WEB)
        for opening in (framed(b"nonsense"), b"\xff\xff\xff\xff"):
            stream = (await look.inner(a).connection("gw-b")).open_stream()
            await stream.send_all(opening)
            refused = ANSWER.decode(await stream.receive_frame(1000))
            assert isinstance(refused, Refused)
            assert "not an opening" in refused.reason
            await stream.aclose()
        assert b.misspoken == 2


async def test_a_stream_that_breaks_under_its_handler_harms_nobody(acme: Any, look: Any, start_hub: Any) -> None:
    broke = trio.Event()

    async def both_ways(_peer: str, _opening: Opening, stream: LinkStream) -> None:
        await stream.send_all(framed(ANSWER.encode(Opened())))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.receive_some)
                nursery.start_soon(stream.send_all, bytes(100 << 20))
        finally:
            broke.set()

    async with (
        start_hub(acme.identity("gw-b"), acme.verifier, handlers={Tunnel: both_ways}) as (_, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}) as (a, _),
    ):
        await look.linked(a, "gw-b")
        for _ in range(2):
            stream = await a.open_stream("gw-b", WEB)
            await trio.aclose_forcefully(stream)
            with trio.fail_after(DEADLINE_S):
                await broke.wait()
            broke = trio.Event()


async def test_the_first_bytes_go_with_the_opening(acme: Any, look: Any, start_hub: Any) -> None:
    async def shout(_peer: str, _opening: Opening, stream: LinkStream) -> None:
        assert await stream.receive_some(4) == b"head"  # before the answer: the caller waits for that
        await stream.send_all(framed(ANSWER.encode(Opened())) + b"HEAD")

    async with (
        start_hub(acme.identity("gw-b"), acme.verifier, handlers={Tunnel: shout}) as (_, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}) as (a, _),
    ):
        await look.linked(a, "gw-b")
        with trio.fail_after(DEADLINE_S):
            stream = await a.open_stream("gw-b", WEB, b"head")
            assert await stream.receive_some() == b"HEAD"
        await stream.aclose()


def test_a_hub_that_does_not_run(acme: Any, quiet: Log) -> None:
    hub = Hub(
        identity=acme.identity("gw-a"),
        verifier=acme.verifier,
        relays=[],
        listen="0.0.0.0:7400",
        peers={},
        handlers={},
        log=quiet,
        random=Random(1),
    )
    assert hub.linked == frozenset()
    assert hub.statistics().relay_reason == "the hub is not running"


async def test_bytes_right_behind_the_answer_are_kept(acme: Any, look: Any, start_hub: Any) -> None:
    async def logs(peer: str, opening: Opening, stream: LinkStream) -> None:
        assert (peer, opening) == ("gw-a", Logs("default", "web-1", "web", tail=5))
        await stream.send_all(framed(ANSWER.encode(Opened())) + b"line 1\nline 2\n")

    async with (
        start_hub(acme.identity("gw-b"), acme.verifier, handlers={Logs: logs}) as (_, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}) as (a, _),
    ):
        await look.linked(a, "gw-b")
        async with await a.open_stream("gw-b", Logs("default", "web-1", "web", tail=5)) as stream:
            assert b"".join([data async for data in stream]) == b"line 1\nline 2\n"


async def test_many_streams_at_a_time_and_room_again_after(acme: Any, look: Any, start_hub: Any) -> None:
    async with (
        start_hub(acme.identity("gw-b"), acme.verifier) as (_, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}) as (a, _),
    ):
        await look.linked(a, "gw-b")
        for _ in range(2):
            streams = []
            with pytest.raises(UnreachableError, match="carries no more streams"):
                while True:
                    streams.append(await a.open_stream("gw-b", WEB))
            assert len(streams) == MAX_STREAMS - 1  # the link has one of its own
            for stream in streams:
                await stream.send_eof()
                assert await stream.receive_some() == b""
                await stream.aclose()
            with trio.fail_after(DEADLINE_S):
                while True:
                    try:
                        await look.says(a, "gw-b")
                        break
                    except UnreachableError:
                        await trio.sleep(0.01)


async def test_an_address_in_use_is_said_so(acme: Any, start_hub: Any) -> None:
    async with start_hub(acme.identity("gw-b"), acme.verifier) as (_, address):
        with pytest.raises(ExceptionGroup) as raised:
            async with start_hub(acme.identity("gw-a"), acme.verifier, port=address.port):
                pass
        assert raised.group_contains(UnreachableError, match="in use")


async def test_a_ping_makes_a_link_and_says_by_which_way_it_went(acme: Any, look: Any, start_hub: Any, until: Any) -> None:
    async with (
        start_hub(acme.identity("gw-b"), acme.verifier, handlers={}) as (b, address),
        start_hub(acme.identity("gw-a"), acme.verifier, peers={"gw-b": [str(address)]}, wants=frozenset()) as (a, _),
    ):
        assert a.linked == frozenset()
        pong = await a.ping("gw-b")
        assert pong.node == "gw-b"
        assert pong.rtt is not None
        assert 0 < pong.rtt < 10
        await until(lambda: look.path(a) == "lan")
        pong = await a.ping("gw-b")
        assert (pong.path, pong.address) == ("lan", str(address))
        assert pong.sent_by["lan"] > 0
        assert pong.received_by["lan"] > 0
        assert (await b.ping("gw-a")).node == "gw-a"
        with pytest.raises(UnreachableError, match="not known here"):
            await a.ping("gw-z")
