import ssl
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from edged.wire import relay as wire
from edged.wire import relayudp

DEADLINE_S = 30.0


async def get(running: Any, request: bytes) -> tuple[bytes, bytes]:
    """The head and the body of the answer to a plain HTTP request."""
    tcp = await trio.open_tcp_stream("127.0.0.1", running.port)
    stream: trio.abc.Stream = tcp
    if running.tls is not None:
        stream = trio.SSLStream(tcp, running.tls, server_hostname="127.0.0.1", https_compatible=True)
    async with stream:
        await stream.send_all(request)
        answer = b""
        with trio.fail_after(DEADLINE_S):
            while b"\r\n\r\n" not in answer or len(answer) < _whole(answer):
                piece = await stream.receive_some()
                assert piece, answer
                answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


def _whole(answer: bytes) -> int:
    head, _, _ = answer.partition(b"\r\n\r\n")
    return len(head) + 4 + int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])


async def test_the_welcome_tells_the_observed_address(serve: Any, acme: Any) -> None:
    async with serve() as running, running.dial() as peer:
        challenge = await peer.until(wire.Challenge)
        await peer.send(acme.prove("gw-a", challenge.nonce))
        welcome = await peer.until(wire.Welcome)
        local = peer.websocket.local
        assert welcome.observed == f"127.0.0.1:{local.port}"


@pytest.mark.parametrize(
    ("header", "observed"),
    [
        (b"10.0.0.1, 203.0.113.9", "203.0.113.9:0"),
        (b"203.0.113.9:4711", "203.0.113.9:4711"),
        (b"2001:db8::1", "[2001:db8::1]:0"),
        (b"[2001:db8::1]:99", "[2001:db8::1]:99"),
        (b"::ffff:203.0.113.9", "203.0.113.9:0"),
    ],
)
async def test_behind_a_proxy_the_last_hop_is_who_connects(serve: Any, acme: Any, header: bytes, observed: str) -> None:
    async with serve(behind_proxy=True) as running, running.dial([(b"X-Forwarded-For", header)]) as peer:
        challenge = await peer.until(wire.Challenge)
        await peer.send(acme.prove("gw-a", challenge.nonce))
        assert (await peer.until(wire.Welcome)).observed == observed


@pytest.mark.parametrize("behind_proxy", [False, True])
async def test_a_forwarded_header_that_cannot_be_believed_changes_nothing(serve: Any, acme: Any, behind_proxy: bool) -> None:
    header = b"not an address" if behind_proxy else b"203.0.113.9"
    async with serve(behind_proxy=behind_proxy) as running, running.dial([(b"X-Forwarded-For", header)]) as peer:
        challenge = await peer.until(wire.Challenge)
        await peer.send(acme.prove("gw-a", challenge.nonce))
        assert (await peer.until(wire.Welcome)).observed.startswith("127.0.0.1:")


async def test_wss_with_a_certificate_of_the_fleet(serve: Any, acme: Any, tmp_path: Path) -> None:
    bundle = acme.authority.issue_relay("relay-1", ["127.0.0.1"], acme.now)
    (tmp_path / "crt").write_bytes(bundle.certificate)
    (tmp_path / "key").write_bytes(bundle.key)
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_tls.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    client_tls = ssl.create_default_context(cadata=acme.authority.certificate_pem.decode())
    async with serve(tls=server_tls, client_tls=client_tls) as running:
        async with running.node("gw-a") as a, running.node("gw-b") as b:
            await a.send(wire.Forward("gw-b", [b"secret" * 1000]))
            assert await b.until(wire.Deliver) == wire.Deliver("gw-a", [b"secret" * 1000])
        head, body = await get(running, b"GET /healthz HTTP/1.1\r\nHost: r\r\n\r\n")
        assert (head.split(b"\r\n")[0], body) == (b"HTTP/1.1 200 OK", b"ok\n")
        async with await trio.open_tcp_stream("127.0.0.1", running.port) as plain:
            await plain.send_all(b"GET /healthz HTTP/1.1\r\nHost: r\r\n\r\n" * 20)
            with trio.fail_after(DEADLINE_S):
                assert b"HTTP" not in await plain.receive_some()


async def test_connections_over_the_limits_are_turned_away(serve: Any) -> None:
    async with serve(most=2) as running, running.node("gw-a") as a, running.node("gw-b") as b:
        async with await trio.open_tcp_stream("127.0.0.1", running.port) as third:
            with trio.fail_after(DEADLINE_S):
                assert await third.receive_some() == b""
        assert running.relay.statistics.refused["busy"] == 1
        await a.send(wire.Forward("gw-b", [b"x"]))
        assert await b.until(wire.Deliver) == wire.Deliver("gw-a", [b"x"])


async def test_healthz_and_metrics_are_answered_on_the_same_port(serve: Any) -> None:
    async with serve() as running, running.node("gw-a") as a, running.node("gw-b"):
        await a.send(wire.Forward("gw-b", [b"12345"]), wire.Forward("nobody", [b"x"]))
        await running.until(lambda relay: relay.statistics.dropped["absent"] == 1)
        head, body = await get(running, b"GET /metrics HTTP/1.1\r\nHost: r\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        lines = body.decode().splitlines()
        assert "edged_relay_nodes 2.0" in lines
        assert "edged_relay_bytes_forwarded_total 5.0" in lines
        assert 'edged_relay_dropped_total{reason="absent"} 1.0' in lines
        assert (await get(running, b"GET /healthz?x HTTP/1.1\r\nHost: r\r\n\r\n"))[1] == b"ok\n"
        assert (await get(running, b"GET /other HTTP/1.1\r\nHost: r\r\n\r\n"))[0].startswith(b"HTTP/1.1 404")
        assert (await get(running, b"POST /metrics HTTP/1.1\r\nHost: r\r\n\r\n"))[0].startswith(b"HTTP/1.1 405")


async def test_two_nodes_speak_by_udp_through_a_port_of_theirs(serve: Any) -> None:
    async with serve() as running, running.node("gw-a") as a, running.node("gw-b") as b:
        await a.send(wire.Allot("gw-b"))
        port = (await a.until(wire.Allotted)).port
        assert await b.until(wire.Allotted) == wire.Allotted("gw-a", port)
        with udp() as one, udp() as other:
            for peer, mine in ((a, one), (b, other)):
                cookie = await asked(mine, peer.welcome, peer.welcome.udp[0], 1, relayudp.NO_COOKIE)
                await asked(mine, peer.welcome, port, 2, cookie)
            await one.sendto(b"hello", ("127.0.0.1", port))
            with trio.fail_after(DEADLINE_S):
                assert await other.recvfrom(100) == (b"hello", ("127.0.0.1", port))
        _, body = await get(running, b"GET /metrics HTTP/1.1\r\nHost: r\r\n\r\n")
        assert "edged_relay_udp_bytes_forwarded_total 5.0" in body.decode().splitlines()
        assert "edged_relay_udp_questions_total 4.0" in body.decode().splitlines()


def udp() -> trio.socket.SocketType:
    return trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)


async def asked(mine: trio.socket.SocketType, welcome: wire.Welcome, port: int, number: int, cookie: bytes) -> bytes:
    """The cookie that is given; with a cookie the address must be bound."""
    question = relayudp.sealed(relayudp.Where(welcome.session, number, cookie), welcome.udp_key)
    await mine.sendto(question, ("127.0.0.1", port))
    with trio.fail_after(DEADLINE_S):
        here = relayudp.opened(await mine.recv(1000), welcome.udp_key)
    assert isinstance(here, relayudp.Here)
    assert here.bound == (cookie != relayudp.NO_COOKIE)
    return here.cookie


async def test_whatever_bytes_connect_the_relay_goes_on(serve: Any) -> None:
    """Random bytes, cut and flipped upgrades, and mangled WebSocket frames after a good upgrade."""
    random = Random(11)
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: r\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: edged-relay\r\n\r\n"
    )
    async with serve() as running, running.node("gw-a") as a, running.node("gw-b") as b:
        for attempt in range(150):
            said = bytearray(upgrade)
            if attempt % 3 == 0:
                said[random.randrange(len(said))] = random.randrange(256)
            elif attempt % 3 == 1:
                said = bytearray(random.randbytes(random.randrange(1, 300)))
            said += random.choice([b"", b"\x82\x81", b"\x88\x82", b"\x89\x80", b"\x81\x85"]) + random.randbytes(
                random.randrange(40)
            )
            stream = await trio.open_tcp_stream("127.0.0.1", running.port)
            try:
                await stream.send_all(bytes(said))
                if attempt % 2:
                    await stream.send_eof()
                    with trio.move_on_after(0.2):
                        while await stream.receive_some():
                            pass
            except trio.BrokenResourceError:
                pass
            await trio.aclose_forcefully(stream)
        await a.send(wire.Forward("gw-b", [b"still here"]))
        assert await b.until(wire.Deliver) == wire.Deliver("gw-a", [b"still here"])
        await running.until(lambda relay: len(relay._clients) == 2)
