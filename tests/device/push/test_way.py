"""One way out against a real web server: order, outages, refusals."""

import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import pytest
import trio

from edged.device.history.journal import Journal
from edged.device.push import way as way_module
from edged.device.push.methods import sender
from edged.device.push.parcels import Credentials, Parcel, Route, Target
from edged.device.push.way import BATCH, BATCH_BYTES, TRIES, Way, first
from edged.device.readings import Reading
from edged.errors import DeniedError
from edged.kit.log import Log
from tests.device.push.conftest import PATIENCE_S, Posted, parcel

ROUTES = {("default", "meter", "power"): Route("/in"), ("default", "meter", "voltage"): Route("/volts")}


class Running:
    def __init__(self, journal: Journal, port: int) -> None:
        self.target = Target("http", f"http://127.0.0.1:{port}")
        self.journal = journal
        self.log = io.StringIO()
        self.troubles: list[str] = []
        self.skipped: list[tuple[int, str]] = []
        self.denied = False
        log = Log(stream=self.log)
        self.way = Way(self.target, ROUTES, journal, self._open, Random(1), log, self._told, self._skip)
        journal.keep_ways([str(self.target)])

    def _open(self) -> Any:
        if self.denied:
            raise DeniedError("no TOKEN")
        return sender(self.target, Credentials(), "gw-a")

    def _told(self) -> None:
        self.troubles.append(self.way.trouble)

    def _skip(self, given_up: Parcel, why: str) -> None:
        self.skipped.append((given_up.id, why))

    def say(self, *values: str, name: str = "power") -> None:
        for value in values:
            self.journal.append("default", "meter", [Reading(name, "string", value, 5)])


@asynccontextmanager
async def running(journal: Journal, port: int) -> AsyncIterator[Running]:
    made = Running(journal, port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.way.run)
        yield made
        nursery.cancel_scope.cancel()


def values(posted: list[Posted]) -> list[str]:
    return [reading["value"] for each in posted for document in json.loads(each.body) for reading in document["readings"]]


async def until(what: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not what():  # noqa: ASYNC110  of a server
            await trio.sleep(0.01)


async def test_what_is_said_arrives_in_order_and_is_acknowledged(journal: Journal, receivers: Any) -> None:
    async with receivers() as receiver, running(journal, receiver.port) as made:
        made.say(*map(str, range(BATCH * 3)))
        await until(lambda: journal.queued(str(made.target)) == 0)
        assert values(receiver.posted) == [str(number) for number in range(BATCH * 3)]
        assert made.way.counts == (BATCH * 3, 0, 0)
        assert len(receiver.posted) <= 5


async def test_readings_take_the_route_of_their_property_and_those_without_one_stay(journal: Journal, receivers: Any) -> None:
    async with receivers() as receiver, running(journal, receiver.port) as made:
        both = [Reading("power", "int", "1", 5), Reading("secret", "int", "2", 5), Reading("voltage", "int", "3", 5)]
        journal.append("default", "meter", both)
        journal.append("default", "other", both)
        await until(lambda: journal.queued(str(made.target)) == 0)
        assert [(each.path, values([each])) for each in receiver.posted] == [("/in", ["1"]), ("/volts", ["3"])]
        assert len({json.loads(each.body)[0]["id"] for each in receiver.posted}) == 1


async def test_a_target_that_is_away_gets_all_when_it_is_back(
    journal: Journal, receivers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(way_module, "PATIENCE_S", 0.0)
    async with receivers() as receiver, running(journal, receiver.port) as made:
        made.say("0")
        await until(lambda: values(receiver.posted) == ["0"])
        receiver.answers = lambda posted: 503
        made.say("1", "2")
        await until(lambda: bool(made.troubles))
        assert "answers 503" in made.troubles[0]
        made.say("3")
        refused = len(receiver.posted)
        receiver.answers = lambda posted: 200
        await until(lambda: journal.queued(str(made.target)) == 0)
        good = [each for each in receiver.posted[refused - 1 :] if each.path == "/in"]
        assert sorted(set(values(good))) == ["1", "2", "3"]
        assert made.troubles[-1] == ""
        assert made.log.getvalue().count("what is for it is kept") == 1


async def test_a_short_absence_is_no_news(journal: Journal, receivers: Any) -> None:
    tries = iter([503, 503])
    async with receivers(lambda posted: next(tries, 200)) as receiver, running(journal, receiver.port) as made:
        made.say("1")
        await until(lambda: journal.queued(str(made.target)) == 0)
        assert made.troubles == []
        assert len(receiver.posted) == 3


async def test_a_report_that_is_refused_for_good_is_found_tried_skipped_and_told(
    journal: Journal, receivers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(way_module, "REFUSED_FIRST_S", 0.001)
    monkeypatch.setattr(way_module, "REFUSED_CAP_S", 0.001)
    tried, taken = 0, list[str]()

    def answers(posted: Posted) -> Any:
        nonlocal tried
        bad = "7" in values([posted])
        tried += bad and len(values([posted])) == 1
        taken.extend(() if bad else values([posted]))
        return (400, b"poison") if bad else 200

    async with receivers() as receiver, running(journal, receiver.port) as made:
        receiver.answers = answers
        made.say(*map(str, range(20)))
        await until(lambda: journal.queued(str(made.target)) == 0)
        assert taken == [str(number) for number in range(20) if number != 7]
        assert [why.partition("answers ")[2] for _, why in made.skipped] == ["400: poison"]
        assert made.way.counts == (19, 1, 0)
        assert tried == TRIES
        assert made.troubles[-1] == ""


async def test_one_that_refuses_us_keeps_everything(journal: Journal, receivers: Any) -> None:
    async with receivers() as receiver, running(journal, receiver.port) as made:
        made.denied = True
        made.say("1")
        await until(lambda: made.troubles == ["no TOKEN"])  # at once: waiting helps nobody
        made.say("2")
        assert receiver.posted == []
        made.denied = False
        await until(lambda: values(receiver.posted) == ["1", "2"])


async def test_it_goes_on_where_it_was(journal: Journal, receivers: Any) -> None:
    async with receivers() as receiver:
        for round_ in range(3):
            async with running(journal, receiver.port) as made:
                made.say(f"{round_}-0", f"{round_}-1")
                await until(partial(lambda made: journal.queued(str(made.target)) == 0, made))
            made.say(f"{round_}-2")  # while it does not run
        assert values(receiver.posted) == [f"{n}-{m}" for n in range(3) for m in range(3)][:-1]


def test_a_batch_has_its_bounds() -> None:
    small = [parcel(number) for number in range(1000)]
    assert first(small, 64) == small[:64]
    large = [parcel(number, "v" * (BATCH_BYTES // 4)) for number in range(8)]
    assert first(large, 64) == large[:3]
    assert first([parcel(1, "v" * BATCH_BYTES * 2), *small], 64) == [parcel(1, "v" * BATCH_BYTES * 2)]
