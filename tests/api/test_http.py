import io
import json
from contextlib import aclosing
from random import Random
from typing import Any

import pytest
import trio
import trio.testing

from edged.api import door, http
from edged.api.exchange import Answer
from edged.kit.log import Log
from edged.model.limits import MAX_BODY

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


async def exchange(served: Any, data: bytes, *, end: bool = True) -> Any:
    """Send bytes as they are; what comes back until the server closes."""
    stream = await trio.open_unix_socket(served.socket_path)
    async with stream:
        with trio.fail_after(20):
            try:
                await stream.send_all(data)
                if end:
                    await stream.send_eof()
                return b"".join([bytes(piece) async for piece in stream])
            except trio.BrokenResourceError:
                return b""


async def test_many_requests_on_one_connection(client: Any) -> None:
    for _ in range(3):
        reply = await client("GET", "/healthz")
        assert (reply.status, reply.body) == (200, b"ok")


async def test_requests_that_come_together_are_answered_in_turn(served: Any) -> None:
    answers = await exchange(served, HEALTH * 3)
    assert answers.count(b"HTTP/1.1 200") == 3


async def test_http_1_0_and_head(served: Any, client: Any) -> None:
    answer = await exchange(served, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nok")
    reply = await client("HEAD", "/healthz")
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "2")
    assert (await client("GET", "/livez")).body == b"ok"


async def test_expect_continue(served: Any) -> None:
    head = b"POST /api/v1/namespaces HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
    stream = await trio.open_unix_socket(served.socket_path)
    async with stream:
        with trio.fail_after(20):
            await stream.send_all(head)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 100")
            await stream.send_all(b"[]")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_refused(served: Any, announced: bool) -> None:
    """An announced one before any of it is sent, a chunked one as soon as it is too large."""
    head = b"POST /api/v1/namespaces HTTP/1.1\r\nhost: x\r\n"
    stream = await trio.open_unix_socket(served.socket_path)
    async with stream:
        with trio.fail_after(20):
            if announced:
                await stream.send_all(head + b"content-length: %d\r\nexpect: 100-continue\r\n\r\n" % (MAX_BODY + 1))
            else:
                await stream.send_all(head + b"transfer-encoding: chunked\r\n\r\n")
                for _ in range(MAX_BODY // 65536 + 1):
                    await stream.send_all(b"10000\r\n" + bytes(65536) + b"\r\n")
            answer = b"".join([bytes(piece) async for piece in stream])
    assert answer.startswith(b"HTTP/1.1 413")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["reason"] == "RequestEntityTooLarge"


async def test_a_client_that_goes_on_sending_still_reads_why_it_was_refused(served: Any) -> None:
    body = bytes(MAX_BODY + 1)
    data = b"POST /api/v1/namespaces HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    assert (await exchange(served, data)).startswith(b"HTTP/1.1 413")


async def test_streams_that_last_keep_no_body_from_being_read(served: Any, client: Any) -> None:
    """More watches that came with a body than bodies are taken at a time."""
    watches = [await served.dial() for _ in range(door.MAX_BODIES + 2)]
    for watch in watches:
        await watch.begin("GET", "/api/v1/pods?watch=1", {})
    assert (await client("POST", "/api/v1/namespaces", {"metadata": {"name": "x"}})).status == 201
    for watch in watches:
        await watch.aclose()


async def test_headers_over_the_limit(served: Any) -> None:
    data = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: " + b"a" * (http.MAX_HEAD + 1)
    assert (await exchange(served, data, end=False)).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n",
        b"GET /?" + b"a=1&" * 100 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused(served: Any, client: Any, data: bytes) -> None:
    answer = await exchange(served, data)
    assert answer.split(b" ")[1].startswith(b"4") or answer.startswith(b"HTTP/1.1 501")
    assert (await client("GET", "/healthz")).status == 200


async def test_slow_clients_are_let_go(served: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_S", "BODY_S", "IDLE_S"):
        monkeypatch.setattr(http, name, 0.3)
    assert (await exchange(served, b"GET /healthz HTT", end=False)).startswith(b"HTTP/1.1 408")
    body = b"POST /api/v1/namespaces HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"
    assert (await exchange(served, body, end=False)).startswith(b"HTTP/1.1 408")
    assert await exchange(served, b"", end=False) == b""


async def test_a_client_that_does_not_read_is_let_go(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WRITE_S", 0.3)
    served.printed = [bytes(1 << 20)] * 8
    await pod(served)
    client = await served.dial()
    async with aclosing(client):
        await client.begin("GET", "/api/v1/namespaces/default/pods/web/log")
        with trio.fail_after(20):
            await served.left.wait()


async def pod(served: Any) -> None:
    client = await served.dial()
    async with aclosing(client):
        spec = {"nodeName": "gw-a", "containers": [{"name": "c", "image": "i"}]}
        made = await client("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "web"}, "spec": spec})
        assert made.status == 201


async def test_connections_over_the_limit_are_closed(served: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MAX_CONNECTIONS", 2)
    assert (await client("GET", "/healthz")).status == 200
    second = await served.dial()
    async with aclosing(second):
        assert (await second("GET", "/healthz")).status == 200
        assert await exchange(served, HEALTH) == b""
    with trio.fail_after(20):
        answer = b""
        while not answer.startswith(b"HTTP/1.1 200"):  # until the server has seen that the second one is gone
            answer = await exchange(served, HEALTH)


VALID = [
    HEALTH,
    b"GET /api/v1/namespaces/default/pods?limit=5 HTTP/1.1\r\nhost: x\r\naccept: application/json\r\n\r\n",
    b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: x\r\ncontent-length: 29\r\n\r\n"
    b'{"metadata":{"name":"fuzzed"}}',
    b"DELETE /api/v1/namespaces/default/configmaps/fuzzed HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    b"2\r\n{}\r\n0\r\n\r\n",
]


def mangled(random: Random) -> Any:
    """Requests one behind the other, cut, flipped, doubled; or any bytes."""
    if random.random() < 0.2:
        return random.randbytes(random.randrange(300))
    data = bytearray(b"".join(random.choices(VALID, k=random.randint(1, 3))))
    for _ in range(random.randint(0, 6)):
        at = random.randrange(len(data))
        match random.choice(["flip", "cut", "double", "insert"]):
            case "flip":
                data[at] ^= 1 << random.randrange(8)
            case "cut" if len(data) > 30:
                del data[at : at + random.randint(1, 20)]
            case "double":
                data[at:at] = data[at : at + 20]
            case _:
                data[at:at] = random.randbytes(random.randrange(10))
    return bytes(data)


@pytest.mark.parametrize("seed", [1, 2])
async def test_mangled_requests_crash_nothing(served: Any, client: Any, seed: int) -> None:
    """None is answered with a 5xx but 501 (an unknown transfer coding), and the server goes on."""
    random = Random(seed)
    for _ in range(200):
        data = mangled(random)
        answer = await exchange(served, data)
        codes = {line.split(b" ")[1] for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")}
        assert not {code for code in codes if code.startswith(b"5") and code != b"501"}, (seed, data)
    assert (await client("GET", "/healthz")).status == 200


async def test_a_stream_is_closed_when_the_client_left_before_the_head() -> None:
    near, far = trio.testing.memory_stream_pair()
    closed = trio.Event()

    class Body:
        def __aiter__(self) -> Any:
            raise AssertionError("nobody is left to read")

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()
            closed.set()

    async def handle(_: object) -> Answer:
        await near.aclose()
        return Answer(200, [], Body())

    await near.send_all(HEALTH)
    await http.Connection(far, None, handle, trio.CapacityLimiter(1), Log(stream=io.StringIO())).serve()
    assert closed.is_set()
