import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import trio

from edged.device.alarms import Limit, Turn
from tests.device.broker import Mosquitto, in_time

TURN = Turn(Limit("hot", "above", Decimal(25)), on=True, measured=Decimal(26), words="is 26, the limit is above 25")
LAMP = "$hw/events/device/default/lamp"


@pytest.mark.tool("mosquitto")
@in_time
async def test_a_broker_goes_and_comes_back(talks: Callable[..., Any], own_mosquitto: Callable[..., Mosquitto]) -> None:
    broker = own_mosquitto()
    async with talks(broker) as talk:
        broker.stop()
        await talk.until(lambda: not talk.bus.is_connected)
        talk.bus.say("lost", b"")
        broker.start()
        await talk.until(lambda: talk.bus.is_connected)
        lines = [json.loads(line) for line in talk.fleet.log.getvalue().splitlines()]
        said = [line["message"] for line in lines if "MQTT" in line["message"]]
        assert said[0].startswith("no MQTT: the MQTT broker at")
        assert said[-1] == "the MQTT broker is there"
        assert len(said) <= 3


@pytest.mark.tool("mosquitto")
@in_time
async def test_what_is_asked_while_the_node_is_away_is_answered_when_it_is_back(
    talks: Callable[..., Any], mosquitto: Mosquitto
) -> None:
    async with talks(mosquitto) as talk:
        talk.serving.cancel()
        await talk.until(lambda: not talk.bus.is_connected)
        for number in "12":
            await talk.say(f"{LAMP}/twin/update", event_id=number, twin={"temperature": {"actual": {"value": number}}})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.serve)
            answers = await talk.hear(f"{LAMP}/twin/update/result", 2)
            assert [answer["event_id"] for answer in answers] == ["1", "2"]
            talk.serving.cancel()


@pytest.mark.tool("mosquitto")
@in_time
async def test_what_was_heard_when_the_broker_went_is_answered_when_it_is_back(
    talks: Callable[..., Any], own_mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = own_mosquitto()
    async with talks(broker) as talk:
        updates = [{"event_id": str(n), "twin": {"temperature": {"actual": {"value": str(n)}}}} for n in range(500)]
        talk.bus.unanswered.extend((f"{LAMP}/twin/update", json.dumps(each).encode()) for each in updates)
        broker.stop()
        await talk.until(lambda: not talk.bus.is_connected)
        assert len(talk.bus.unanswered) == 500
        broker.start()
        await talk.until(lambda: not talk.bus.unanswered)
        assert talk.fleet.value("temperature", "lamp") == "499"
        assert [each.value for _, each in talk.fleet.readings] == [str(n) for n in range(500)]


@pytest.mark.tool("mosquitto")
@in_time
async def test_an_alarm_is_told_when_the_node_is_back(talks: Callable[..., Any], mosquitto: Mosquitto) -> None:
    async with talks(mosquitto) as talk:
        talk.serving.cancel()
        await talk.until(lambda: not talk.bus.is_connected)
        config = {"visitors": {"configData": {"kind": "constant", "value": "30"}}}
        await talk.apply("boiler", protocol="virtual", temperature={**config, "alarms": [{"name": "hot", "above": "25"}]})
        await talk.until(lambda: len(talk.bus._out) == 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.serve)
            (raised,) = await talk.hear("$ke/events/device/default/boiler/alarm")
            assert (raised["alarm"]["state"], raised["alarm"]["value"]) == ("raised", "30")
            await talk.until(lambda: not talk.bus.untold)
            talk.serving.cancel()


@pytest.mark.tool("mosquitto")
@in_time
async def test_an_alarm_that_a_broker_did_not_acknowledge_is_told_the_next(
    talks: Callable[..., Any], own_mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = own_mosquitto()
    async with talks(broker) as talk:
        broker.hang()
        talk.bus.take_alarm("default", "lamp", "temperature", TURN)
        await talk.until(lambda: bool(talk.bus.untold))
        broker.stop()
        await talk.until(lambda: not talk.bus.is_connected)
        assert [each.topic for each in talk.bus.untold] == ["$ke/events/device/default/lamp/alarm"]
        broker.start()
        await talk.until(lambda: talk.bus.is_connected and not talk.bus.untold)


@pytest.mark.tool("mosquitto")
@pytest.mark.tool("mosquitto_pub")
@in_time
async def test_the_tools_of_mosquitto_are_answered(talks: Callable[..., Any], mosquitto: Mosquitto) -> None:
    async with talks(mosquitto) as talk:
        argv = ["mosquitto_rr", "-p", str(mosquitto.port), "-t", f"{LAMP}/twin/update", "-e", f"{LAMP}/twin/update/result"]
        argv += ["-m", json.dumps({"event_id": "7", "twin": {"temperature": {"actual": {"value": "20"}}}}), "-W", "20"]
        done = await trio.run_process(argv, capture_stdout=True)
        assert json.loads(done.stdout)["event_id"] == "7"
        assert talk.fleet.value("temperature", "lamp") == "20"
