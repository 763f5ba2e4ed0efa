import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from dnslib import RCODE, DNSRecord

from edged.mesh import message, resolvers
from edged.mesh.resolvers import Resolvers, nameservers

QUERY = message.parse(bytes(DNSRecord.question("example.org").pack()))
NOWHERE = Path("/nonexistent")
Resolve = Callable[..., bytes]
Start = Callable[[], Awaitable[Any]]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolvers, "TRY_S", 0.2)


def asking(*addresses: str, own: str = "127.96.0.53", resolv_conf: Path = NOWHERE, behind_stub: Path = NOWHERE) -> Resolvers:
    return Resolvers(addresses, own, Random(1), resolv_conf, behind_stub)


async def ask(asked: Resolvers) -> list[str] | None:
    with trio.fail_after(60):
        found = await asked.ask(QUERY)
    return None if found is None else [str(record.rdata) for record in DNSRecord.parse(found.data).rr]


def coded(code: int) -> Callable[[bytes], list[bytes]]:
    def answer(question: bytes) -> list[bytes]:
        reply = DNSRecord.parse(question).reply()
        reply.header.rcode = code
        return [bytes(reply.pack())]

    return answer


async def test_a_question_has_a_number_and_a_port_of_its_own(upstream: Any) -> None:
    asked = asking(upstream.address)
    ports = set()
    for _ in range(8):
        assert await ask(asked) == ["192.0.2.0"]
        ports.add(upstream.client[1])
    heard = [DNSRecord.parse(question) for question in upstream.heard]
    assert len({record.header.id for record in heard}) > 6
    assert len(ports) > 6
    assert all(record.ar[0].edns_len == message.MAX_EDNS and record.header.rd for record in heard)


@pytest.mark.usefixtures("quick")
async def test_a_silent_resolver_is_followed_by_the_next_and_asked_last_from_then_on(start_upstream: Start) -> None:
    silent, good = await start_upstream(), await start_upstream()
    silent.answer = lambda query: []
    asked = asking(silent.address, good.address)
    assert await ask(asked) == ["192.0.2.0"]
    assert await ask(asked) == ["192.0.2.0"]
    assert (len(silent.heard), len(good.heard)) == (1, 2)


async def test_a_dead_resolver_is_followed_by_the_next(upstream: Any, dead_port: int) -> None:
    assert await ask(asking(f"127.0.0.1:{dead_port}", upstream.address)) == ["192.0.2.0"]


@pytest.mark.parametrize("code", [RCODE.SERVFAIL, RCODE.REFUSED, RCODE.NOTIMP])
async def test_a_resolver_that_cannot_is_followed_by_the_next(start_upstream: Start, code: int) -> None:
    bad, good = await start_upstream(), await start_upstream()
    bad.answer = coded(code)
    assert await ask(asking(bad.address, good.address)) == ["192.0.2.0"]


async def test_what_is_not_there_is_an_answer(start_upstream: Start) -> None:
    first, second = await start_upstream(), await start_upstream()
    first.answer = coded(RCODE.NXDOMAIN)
    assert await ask(asking(first.address, second.address)) == []
    assert second.heard == []


@pytest.mark.usefixtures("quick")
async def test_nobody_answers(start_upstream: Start) -> None:
    silent = [await start_upstream() for _ in range(3)]
    for each in silent:
        each.answer = lambda query: []
    assert await ask(asking(*(each.address for each in silent))) is None
    assert await ask(asking()) is None
    assert [len(each.heard) for each in silent] == [1, 1, 0], "a client does not wait for a third one"


async def test_what_does_not_fit_is_asked_again_by_tcp(upstream: Any, resolve: Resolve) -> None:
    def answer(question: bytes) -> list[bytes]:
        whole = resolve(question, 100)
        return [whole if upstream.streams else whole[:2] + b"\x83\x80\0\1" + bytes(6) + whole[12:29]]

    upstream.answer = answer
    found = await ask(asking(upstream.address))
    assert len(found) == 100


async def test_a_resolver_without_edns_is_asked_without(upstream: Any, resolve: Resolve) -> None:
    upstream.answer = lambda question: coded(RCODE.FORMERR)(question) if question[11] else [resolve(question)]
    assert await ask(asking(upstream.address)) == ["192.0.2.0"]
    assert [question[11] for question in upstream.heard] == [1, 0]


async def test_a_forged_or_broken_answer_is_passed_over(upstream: Any, resolve: Resolve) -> None:
    def forge(question: bytes) -> list[bytes]:
        wrong_number = resolve(bytes([question[0] ^ 1]) + question[1:], 2)
        wrong_name = DNSRecord.question("example.net").reply()
        wrong_name.header.id = int.from_bytes(question[:2], "big")
        cut = resolve(question)[:-1]
        return [b"", b"\x00", question, wrong_number, bytes(wrong_name.pack()), cut, resolve(question)]

    upstream.answer = forge
    assert await ask(asking(upstream.address)) == ["192.0.2.0"]


async def test_an_answer_from_elsewhere_is_not_heard(
    upstream: Any, resolve: Resolve, nursery: trio.Nursery, until: Callable[..., Awaitable[None]]
) -> None:
    """The right number and the right question, sent to the right port by somebody else."""
    asked = asking(upstream.address)
    upstream.answer = lambda question: []

    async def strange() -> None:
        await until(lambda: bool(upstream.heard))
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as elsewhere:
            await elsewhere.sendto(resolve(upstream.heard[0], 2), upstream.client)
            await upstream.say(resolve(upstream.heard[0]))

    nursery.start_soon(strange)
    assert await ask(asked) == ["192.0.2.0"]


def test_nameserver_lines_are_read() -> None:
    lines = ["# nameserver 192.0.2.9", "search lan", "nameserver 192.0.2.1", " nameserver\tfe80::1%eth0 # x"]
    text = "\n".join([*lines, "nameserver nonsense", "nameserver", ""])
    assert nameservers(text) == [("192.0.2.1", 53), ("fe80::1%eth0", 53)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
    ],
)
def test_an_address_may_have_a_port(text: str, expected: tuple[str, int]) -> None:
    assert asking(text)._addresses() == [expected]


def test_the_hosts_resolvers_are_read_again_when_they_change_and_never_ourselves(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    asked = asking(resolv_conf=path)
    assert asked._addresses() == []
    path.write_text("nameserver 127.96.0.53\nnameserver 192.0.2.1\n")
    assert asked._addresses() == [("192.0.2.1", 53)]
    path.write_text("nameserver 192.0.2.2\n")
    os.utime(path, (1, 1))
    assert asked._addresses() == [("192.0.2.2", 53)]
    path.unlink()
    assert asked._addresses() == []


def test_behind_systemd_resolved_are_those_that_it_asks(tmp_path: Path) -> None:
    """It may ask us: we must not ask it."""
    stub, real = tmp_path / "stub", tmp_path / "real"
    stub.write_text("nameserver 127.0.0.53\noptions edns0\n")
    asked = asking(own="169.254.96.16", resolv_conf=stub, behind_stub=real)
    assert asked._addresses() == [("127.0.0.53", 53)], "better than nobody"
    real.write_text("nameserver 169.254.96.16\nnameserver 192.0.2.1\n")
    assert asked._addresses() == [("192.0.2.1", 53)]
