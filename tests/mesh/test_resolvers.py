import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from dnslib import DNSRecord

from edged.mesh import resolvers
from edged.mesh.resolvers import MAX_IN_FLIGHT, Resolvers, nameservers

QUERY = bytes(DNSRecord.question("example.org").pack())
Resolve = Callable[..., bytes]
Start = Callable[[], Awaitable[Any]]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolvers, "TRY_S", 0.2)


def asking(*addresses: str, own: str = "127.96.0.53", resolv_conf: Path = Path("/nonexistent")) -> Resolvers:
    return Resolvers(addresses, own, Random(1), resolv_conf)


@pytest.mark.parametrize("tcp", [False, True])
async def test_the_answer_has_the_number_of_the_question(upstream: Any, resolve: Resolve, tcp: bool) -> None:
    with trio.fail_after(60):
        assert await asking(upstream.address).ask(QUERY, tcp=tcp) == resolve(QUERY)
    (heard,) = upstream.heard
    assert heard[:2] != QUERY[:2], "a number of our own"
    assert heard[2:] == QUERY[2:]


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.usefixtures("quick")
async def test_a_silent_resolver_is_followed_by_the_next(start_upstream: Start, resolve: Resolve, tcp: bool) -> None:
    silent, good = await start_upstream(), await start_upstream()
    silent.answer = lambda query: []
    with trio.fail_after(60):
        assert await asking(silent.address, good.address).ask(QUERY, tcp=tcp) == resolve(QUERY)
    assert len(silent.heard) == 1


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_dead_resolver_is_followed_by_the_next(upstream: Any, resolve: Resolve, dead_port: int, tcp: bool) -> None:
    with trio.fail_after(60):
        assert await asking(f"127.0.0.1:{dead_port}", upstream.address).ask(QUERY, tcp=tcp) == resolve(QUERY)


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.usefixtures("quick")
async def test_nobody_answers(start_upstream: Start, resolve: Resolve, tcp: bool) -> None:
    silent = [await start_upstream() for _ in range(3)]
    for each in silent:
        each.answer = lambda query: []
    with trio.fail_after(60):
        assert await asking(*(each.address for each in silent)).ask(QUERY, tcp=tcp) is None
        assert await asking().ask(QUERY, tcp=tcp) is None
    assert [len(each.heard) for each in silent] == [1, 1, 0], "a client does not wait for a third one"


async def test_a_forged_answer_is_passed_over(upstream: Any, resolve: Resolve) -> None:
    def forge(query: bytes) -> list[bytes]:
        wrong_number = resolve(bytes([query[0] ^ 1]) + query[1:], 2)
        wrong_name = DNSRecord.question("example.net").reply()
        wrong_name.header.id = int.from_bytes(query[:2], "big")
        return [b"", b"\x00", query, wrong_number, bytes(wrong_name.pack()), resolve(query)]

    upstream.answer = forge
    with trio.fail_after(60):
        assert await asking(upstream.address).ask(QUERY, tcp=False) == resolve(QUERY)


async def test_questions_in_flight_are_bounded(upstream: Any, until: Callable[..., Awaitable[None]]) -> None:
    asked = asking(upstream.address)
    upstream.answer = lambda query: []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_IN_FLIGHT):
                nursery.start_soon(lambda: asked.ask(QUERY, tcp=False))
            await until(lambda: asked.in_flight == MAX_IN_FLIGHT)
            assert await asked.ask(QUERY, tcp=False) is None
            nursery.cancel_scope.cancel()
    assert asked.in_flight == 0


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
