"""A client that tells a twin's values over MQTT: `tell.py PORT PID ONE_BY_ONE WINDOWED WINDOW BURST` prints figures as JSON.

ONE_BY_ONE updates one after the other; WINDOWED with WINDOW under way all the time; BURST at once, from one paho client that
also subscribes. It fails when an answer is wrong, or out of order. PID is the daemon's, for its processor time.
"""

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as mqtt
import trio

from edged.device.bus.client import Broker, MqttConnection, Publish, connected
from edged.kit.address import Address
from tests.bench.idle import cpu_s

UPDATE = "$hw/events/device/default/lamp/twin/update"
PATIENCE_S = 120.0


def update(number: int) -> bytes:
    twin = {"power": {"actual": {"value": str(number)}}}
    return json.dumps({"event_id": str(number), "timestamp": int(time.time() * 1000), "twin": twin}).encode()


def number_of(payload: bytes) -> int:
    answer = json.loads(payload)
    if "twin" not in answer:
        raise SystemExit(f"a wrong answer: {payload!r}")
    return int(answer["event_id"])


async def ready(say: MqttConnection, hear: MqttConnection) -> None:
    """Until the daemon is on the broker and serves the device: its answers before that are refusals, or none."""
    while True:
        await say.publish(UPDATE, update(0))
        with trio.move_on_after(0.5):
            if "twin" in json.loads((await hear.receive())[-1].payload):
                return


async def one_by_one(say: MqttConnection, hear: MqttConnection, count: int) -> list[float]:
    """Seconds from each update to its answer."""
    took = []
    for number in range(count):
        began = time.perf_counter()
        await say.publish(UPDATE, update(number))  # the broker has it long before it is answered
        (answer,) = await hear.receive()
        took.append(time.perf_counter() - began)
        if number_of(answer.payload) != number:
            raise SystemExit(f"{number} is answered with {answer.payload!r}")
    return took


async def windowed(say: MqttConnection, hear: MqttConnection, count: int, window: int) -> tuple[float, list[float]]:
    """Updates a second, and the seconds from each to its answer."""
    sent: list[float] = []
    took: list[float] = []
    answered = trio.Event()

    async def feed() -> None:
        nonlocal answered
        while len(sent) < count:
            room = min(window - (len(sent) - len(took)), count - len(sent))
            if room:
                some = [Publish(UPDATE, update(number)) for number in range(len(sent), len(sent) + room)]
                sent.extend([time.perf_counter()] * room)
                await say.publish_all(some)
            else:
                answered = trio.Event()
                await answered.wait()

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed)
        while len(took) < count:
            for answer in await hear.receive():
                if number_of(answer.payload) != len(took):
                    raise SystemExit(f"{len(took)} is answered with {answer.payload!r}")
                took.append(time.perf_counter() - sent[len(took)])
            answered.set()
    return count / (time.perf_counter() - began), took


def burst(port: int, count: int) -> int:
    """How many of `count` updates that one client sends at once are answered to the same client, in order."""
    numbers: list[int] = []
    all_there, subscribed = threading.Event(), threading.Event()

    def on_message(_client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        numbers.append(number_of(message.payload))
        if len(numbers) == count:
            all_there.set()

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)  # type: ignore[attr-defined]
    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe(f"{UPDATE}/result", 1)
    subscribed.wait(PATIENCE_S)
    for number in range(count):
        client.publish(UPDATE, update(number), 1)
    all_there.wait(PATIENCE_S)
    client.disconnect()
    client.loop_stop()
    return sum(1 for place, number in enumerate(numbers) if place == number)


async def measure(port: int, pid: int, ones: int, many: int, window: int) -> dict[str, float]:
    broker = Broker(Address("127.0.0.1", port))
    with trio.fail_after(PATIENCE_S):
        async with connected(broker, "bench-say") as say, connected(broker, "bench-hear") as hear:
            await hear.subscribe([f"{UPDATE}/result"])
            await ready(say, hear)
            began, before = time.perf_counter(), cpu_s(pid)
            took = await one_by_one(say, hear, ones)
            found = {"twin_w1_per_s": ones / (time.perf_counter() - began), "twin_w1_p50_ms": statistics.median(took) * 1000}
            found["twin_w1_cpu_ms"] = (cpu_s(pid) - before) / ones * 1000
            before = cpu_s(pid)
            rate, took = await windowed(say, hear, many, window)
            found |= {"twin_w64_per_s": rate, "twin_w64_p99_ms": percentile(took) * 1000}
            return found | {"twin_w64_cpu_ms": (cpu_s(pid) - before) / many * 1000}


def percentile(values: Sequence[float]) -> float:
    """The slowest hundredth."""
    return sorted(values)[int(len(values) * 0.99)]


def main(say: Callable[[str], object] = print) -> None:
    port, pid, ones, many, window, at_once = map(int, sys.argv[1:])
    found = trio.run(measure, port, pid, ones, many, window)
    say(json.dumps({**found, "burst_answered": burst(port, at_once)}))


if __name__ == "__main__":
    main()
