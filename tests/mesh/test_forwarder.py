from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
import trio
from dnslib import RCODE, RR, DNSRecord

from edged.mesh import cache, forwarder, message, resolvers
from edged.mesh.forwarder import MAX_ASKED, Forwarder
from edged.mesh.resolvers import Resolvers

Until = Callable[[Callable[[], bool]], Awaitable[None]]


def query(name: str = "example.org") -> message.Query:
    return message.parse(bytes(DNSRecord.question(name).pack()))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def asked(nursery: trio.Nursery, upstream: Any, clock: Clock) -> Forwarder:
    made = Forwarder(Resolvers([upstream.address], "127.96.0.53", Random(1)), clock)
    await nursery.start(made.run)
    return made


async def ask(made: Forwarder, name: str = "example.org") -> DNSRecord | None:
    with trio.fail_after(60):
        response = await made.resolve(query(name))
    return None if response is None else DNSRecord.parse(response)


async def test_what_is_known_is_not_asked_again_until_its_time_is_over(asked: Forwarder, upstream: Any, clock: Clock) -> None:
    assert (await ask(asked)).a.ttl == 60
    clock.now = 20.0
    assert (await ask(asked, "EXAMPLE.org")).a.ttl == 40
    assert (len(upstream.heard), asked.statistics.cached) == (1, 1)
    clock.now = 60.0
    assert (await ask(asked)).a.ttl == 60
    assert (len(upstream.heard), asked.statistics.asked) == (2, 2)


async def test_equal_questions_under_way_are_one(asked: Forwarder, upstream: Any, until: Until) -> None:
    upstream.answer = lambda query: []
    answers: list[DNSRecord | None] = []

    async def client() -> None:
        answers.append(await ask(asked))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(client)
            await until(lambda: asked.statistics.joined == 19 and len(upstream.heard) == 1)
            (question,) = upstream.heard
            await upstream.say(bytes(reply_to(question)))
    assert len(upstream.heard) == 1
    assert [str(each.a.rdata) for each in answers] == ["192.0.2.9"] * 20


def reply_to(question: bytes, code: int = 0) -> bytes:
    reply = DNSRecord.parse(question).reply()
    reply.header.rcode = code
    if not code:
        reply.add_answer(*RR.fromZone("example.org 60 A 192.0.2.9"))
    return bytes(reply.pack())


async def test_a_client_that_leaves_does_not_end_the_question(asked: Forwarder, upstream: Any, until: Until) -> None:
    upstream.answer = lambda query: []
    with trio.move_on_after(0.05):
        await asked.resolve(query())
    await until(lambda: len(upstream.heard) == 1)
    await upstream.say(reply_to(upstream.heard[0]))
    await until(lambda: asked.gauges["cache_entries"] == 1)
    assert str((await ask(asked)).a.rdata) == "192.0.2.9"


@pytest.mark.parametrize("how", ["silent", "servfail"])
async def test_what_is_past_its_time_serves_while_nobody_answers(
    asked: Forwarder, upstream: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(forwarder, "STALE_S", 0.05 if how == "silent" else 60)
    monkeypatch.setattr(resolvers, "TRY_S", 0.1)
    await ask(asked)
    upstream.answer = lambda question: [] if how == "silent" else [reply_to(question, RCODE.SERVFAIL)]
    clock.now = 1000.0
    found = await ask(asked)
    assert (str(found.a.rdata), found.a.ttl, asked.statistics.stale) == ("192.0.2.0", cache.STALE_TTL_S, 1)
    upstream.answer = lambda question: [reply_to(question)]
    clock.now = 1000.0 + 10 * cache.RETRY_S
    with trio.fail_after(60):
        while str((await ask(asked)).a.rdata) != "192.0.2.9":
            clock.now += cache.RETRY_S


async def test_a_question_that_nobody_answered_is_left_alone_for_a_while(
    asked: Forwarder, upstream: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolvers, "TRY_S", 0.05)
    upstream.answer = lambda query: []
    assert await ask(asked) is None
    assert await ask(asked) is None
    assert (len(upstream.heard), asked.statistics.unanswered) == (1, 2)
    clock.now = cache.RETRY_S
    assert await ask(asked) is None
    assert len(upstream.heard) == 2


async def test_a_refusal_is_passed_on_when_there_is_nothing_better(asked: Forwarder, upstream: Any) -> None:
    upstream.answer = lambda question: [reply_to(question, RCODE.REFUSED)]
    assert (await ask(asked)).header.rcode == RCODE.REFUSED


async def test_questions_under_way_are_bounded(asked: Forwarder, upstream: Any, until: Until) -> None:
    upstream.answer = lambda query: []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(MAX_ASKED):
                nursery.start_soon(asked.resolve, query(f"n{number}.example.org"))
            await until(lambda: asked.gauges["in_flight"] == MAX_ASKED)
            assert await ask(asked) is None
            nursery.cancel_scope.cancel()
