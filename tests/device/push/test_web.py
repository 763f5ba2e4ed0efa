"""Requests to real servers: kept connections, refusals, hostile answers, TLS."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio

from edged.device.push.http import form
from edged.device.push.parcels import Credentials, Target
from edged.device.push.web import MAX_ANSWER, WebSender
from edged.errors import DeniedError, InvalidError, UnreachableError
from tests.device.push.conftest import Certificate, parcel

NOBODY = Credentials()


def sender(port: int, scheme: str = "http", credentials: Credentials = NOBODY, timeout_s: float = 20.0) -> WebSender:
    target = Target("http", f"{scheme}://127.0.0.1:{port}/base", timeout_s=timeout_s)
    return WebSender(target, credentials, form("gw-a", credentials))


async def test_a_connection_is_kept(receivers: Any) -> None:
    async with receivers() as receiver:
        made = sender(receiver.port, credentials=Credentials("tok"))
        for number in range(5):
            assert await made.send([parcel(number)]) == 0
        await made.aclose()
    assert receiver.connections == 1
    assert [each.path for each in receiver.posted] == ["/base/in"] * 5
    assert receiver.posted[0].headers["authorization"] == "Bearer tok"
    assert b'"id":4' in receiver.posted[4].body


async def test_a_connection_that_the_server_closed_is_made_anew(receivers: Any) -> None:
    async with receivers() as receiver:
        receiver.close_after_each = True
        made = sender(receiver.port)
        for number in range(4):
            await made.send([parcel(number)])
        await made.aclose()
    assert receiver.connections == 4
    assert len(receiver.posted) == 4


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (400, InvalidError),
        (413, InvalidError),
        (422, InvalidError),
        (401, DeniedError),
        (403, DeniedError),
        (404, DeniedError),
        (301, DeniedError),
        (429, UnreachableError),
        (500, UnreachableError),
        ((503, b"try  later\n"), UnreachableError),
    ],
)
async def test_a_refusal_is_what_it_means(receivers: Any, answer: Any, error: type[Exception]) -> None:
    async with receivers(lambda posted: answer) as receiver:
        made = sender(receiver.port)
        with pytest.raises(error, match=r"answers \d+(: try later)?$"):
            await made.send([parcel(1)])
        await made.aclose()


async def test_nobody_there_and_nobody_who_answers_are_unreachable(receivers: Any) -> None:
    async with receivers(lambda posted: None) as receiver:
        made = sender(receiver.port, timeout_s=0.1)
        with pytest.raises(UnreachableError, match=r"no answer within 0\.1 s"):
            await made.send([parcel(1)])
        port = receiver.port
    with pytest.raises(UnreachableError, match=r"cannot be reached: .*refused"):
        await sender(port).send([parcel(1)])


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"],
)
async def test_what_is_no_answer_is_unreachable(hostile: Callable[[Any], Any], answer: bytes) -> None:
    async def talk(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all(answer)
        await stream.aclose()

    async with hostile(talk) as port:
        made = sender(port)
        with pytest.raises(UnreachableError):
            await made.send([parcel(1)])
        await made.aclose()


async def test_an_answer_without_end_is_cut(receivers: Any) -> None:
    async with receivers(lambda posted: (200, b"x" * (MAX_ANSWER * 3))) as receiver:
        made = sender(receiver.port)
        for number in range(2):
            assert await made.send([parcel(number)]) == 0
        await made.aclose()
    assert receiver.connections == 2


async def test_tls_trusts_whom_the_secret_names_and_nobody_else(receivers: Any, certificate: Certificate) -> None:
    async with receivers(tls=certificate.context) as receiver:
        made = sender(receiver.port, "https", Credentials(ca=certificate.pem))
        await made.send([parcel(1)])
        await made.send([parcel(2)])
        await made.aclose()
        with pytest.raises(UnreachableError, match="certificate verify failed"):
            await sender(receiver.port, "https").send([parcel(1)])
        with pytest.raises(UnreachableError):
            await sender(receiver.port, "http").send([parcel(1)])
    assert len(receiver.posted) == 2
    with pytest.raises(DeniedError, match="no certificate in PEM"):
        sender(1, "https", Credentials(ca="-----BEGIN CERTIFICATE-----\nxx"))


async def test_it_can_be_left_while_it_waits(receivers: Any) -> None:
    async with receivers(lambda posted: None) as receiver, trio.open_nursery() as nursery:
        made = sender(receiver.port)
        nursery.start_soon(partial(made.send, [parcel(1)]))
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()
