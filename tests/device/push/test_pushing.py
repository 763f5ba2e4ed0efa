"""The service of all ways out: from Devices in a store to a real receiver, and what it says of trouble."""

import base64
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio

from edged.device.history.journal import Journal
from edged.device.push import pushing as pushing_module
from edged.device.push import way as way_module
from edged.device.push.pushing import Pushing
from edged.device.readings import Reading
from edged.kit.log import Log
from edged.model.core import Secret
from edged.model.objects import dump, key
from edged.store.writes import Create
from tests.device.push.conftest import PATIENCE_S, free_port


class Served:
    """Devices, the journal and the ways out of gw-a."""

    def __init__(self, fleet: Any, journal: Journal, environ: Mapping[str, str]) -> None:
        self.fleet, self.journal = fleet, journal
        self.log = io.StringIO()
        self.devices: Any = None
        self.pushing = Pushing(
            *(fleet.store, journal, "gw-a", environ, Random(1), Log(stream=self.log), fleet.recorder()),
            tell=lambda name, problems: self.devices.pushing(name, problems),  # noqa: PLW0108  it is made below
        )
        self.devices = fleet.devices(listed=self.pushing.listed)

    def say(self, value: str, name: str = "temperature", device: str = "thermometer") -> None:
        self.journal.append("default", device, [Reading(name, "float", value, 5)])

    def pushed(self, of: str = "thermometer") -> tuple[str, str, str]:
        found: tuple[str, str, str] = self.fleet.condition("Pushed", of)
        return found

    def events(self) -> list[str]:
        return [str(json.loads(each.body)["reason"]) for each in self.fleet.store.list("events")]


@asynccontextmanager
async def serving(fleet: Any, journal: Journal, environ: Mapping[str, str] = {}) -> AsyncIterator[Served]:
    made = Served(fleet, journal, environ)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.pushing.run)
        await nursery.start(made.devices.run)
        yield made
        nursery.cancel_scope.cancel()


async def until(what: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not what():  # noqa: ASYNC110  of a server
            await trio.sleep(0.01)


def http(port: int, **more: Any) -> dict[str, Any]:
    return {"http": {"hostName": "127.0.0.1", "port": port, "requestPath": "/in"}, **more}


def said(receiver: Any) -> list[str]:
    return [
        reading["value"] for each in receiver.posted for document in json.loads(each.body) for reading in document["readings"]
    ]


async def device(fleet: Any, parts: Any, method: dict[str, Any], name: str = "thermometer", node: str = "gw-a") -> None:
    await fleet.apply(parts.device_json(name=name, node=node, port=free_port(), temperature={"pushMethod": method}))


async def test_what_a_device_says_goes_where_its_manifest_says(
    fleet_of_devices: Any, parts: Any, journal: Journal, receivers: Any
) -> None:
    async with receivers() as one, receivers() as other, serving(fleet_of_devices, journal) as served:
        served.say("before there is a Device")
        await device(fleet_of_devices, parts, http(one.port))
        await until(lambda: bool(journal.ways))
        served.say("1")
        await until(lambda: said(one) == ["1"])
        await fleet_of_devices.until(lambda: served.pushed()[0] == "True")
        await device(fleet_of_devices, parts, http(other.port))  # it goes elsewhere now
        await until(lambda: any(str(other.port) in way for way in journal.ways))
        served.say("2")
        await until(lambda: said(other) == ["2"])
        assert said(one) == ["1"]
        names = {(name, value) for name, _, value, labels in served.pushing.figures() if str(other.port) in labels["target"]}
        assert {("edged_push_sent_total", 1), ("edged_push_queued", 0)} <= names


async def test_a_mistake_is_a_condition_with_the_path_of_its_field(fleet_of_devices: Any, parts: Any, journal: Journal) -> None:
    async with serving(fleet_of_devices, journal) as served:
        await device(fleet_of_devices, parts, {"mqtt": {"address": "udp://x:1", "topic": "t"}})
        await fleet_of_devices.until(lambda: served.pushed()[0] == "False")
        assert "spec.properties[0].pushMethod.mqtt.address: expected tcp://host[:port]" in served.pushed()[2]
        await device(fleet_of_devices, parts, {})
        await fleet_of_devices.until(lambda: served.pushed()[0] == "")


async def test_credentials_that_are_missing_are_said_and_nothing_is_lost_until_they_are_there(
    fleet_of_devices: Any, parts: Any, journal: Journal, receivers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(way_module, "REFUSED_CAP_S", 0.5)
    async with receivers() as receiver, serving(fleet_of_devices, journal) as served:
        await device(fleet_of_devices, parts, http(receiver.port, secretName="receiver"))
        await until(lambda: bool(journal.ways))
        served.say("1")
        await fleet_of_devices.until(lambda: "there is no Secret default/receiver" in served.pushed()[2])
        assert served.pushed()[2].startswith("temperature: http http://127.0.0.1:")
        await fleet_of_devices.until(lambda: "PushFails" in served.events())
        name = key(Secret, "receiver", "default")
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "receiver", "namespace": "default"},
            "data": {"TOKEN": base64.b64encode(b"sesame\n").decode(), "other": base64.b64encode(b"\xff").decode()},
        }
        await fleet_of_devices.store.write(Create(name, "uid-secret", dump(body)))
        await until(lambda: said(receiver) == ["1"])
        assert receiver.posted[0].headers["authorization"] == "Bearer sesame"
        await fleet_of_devices.until(lambda: served.pushed()[0] == "True")
        await fleet_of_devices.until(lambda: "PushGoesOn" in served.events())


async def test_a_report_that_is_given_up_is_an_event_of_its_device(
    fleet_of_devices: Any, parts: Any, journal: Journal, receivers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(way_module, "REFUSED_CAP_S", 0.5)
    monkeypatch.setattr(way_module, "TRIES", 2)
    async with receivers(lambda posted: 422) as receiver, serving(fleet_of_devices, journal) as served:
        await device(fleet_of_devices, parts, http(receiver.port))
        await until(lambda: bool(journal.ways))
        served.say("1")
        await fleet_of_devices.until(lambda: "ReadingsRefused" in served.events())


async def test_a_target_that_is_no_longer_named_is_forgotten_after_a_while_and_not_before(
    fleet_of_devices: Any, parts: Any, journal: Journal, monkeypatch: pytest.MonkeyPatch, receivers: Any
) -> None:
    async with receivers() as receiver, serving(fleet_of_devices, journal) as served:
        receiver.answers = lambda posted: 503
        await device(fleet_of_devices, parts, http(receiver.port))
        await until(lambda: bool(journal.ways))
        served.say("1")
        await until(lambda: bool(receiver.posted))
        await device(fleet_of_devices, parts, {})
        await until(lambda: not list(served.pushing.figures()))
        assert journal.ways
        receiver.answers = lambda posted: 200
        receiver.posted.clear()
        await device(fleet_of_devices, parts, http(receiver.port))  # it is named again
        await until(lambda: said(receiver) == ["1"])
        monkeypatch.setattr(pushing_module, "FORGET_S", 0.05)
        await device(fleet_of_devices, parts, {})
        await until(lambda: not journal.ways)


async def test_what_another_node_serves_is_its_own_affair_but_what_waits_here_is_sent(
    fleet_of_devices: Any, parts: Any, journal: Journal, receivers: Any
) -> None:
    async with receivers() as receiver:
        await device(fleet_of_devices, parts, http(receiver.port), node="gw-b")
        async with serving(fleet_of_devices, journal) as served:
            await trio.testing.wait_all_tasks_blocked()
            assert not journal.ways
            receiver.answers = lambda posted: 503
            await device(fleet_of_devices, parts, http(receiver.port))
            await until(lambda: bool(journal.ways))
            served.say("1")
            await until(lambda: bool(receiver.posted))
            await device(fleet_of_devices, parts, http(receiver.port), node="gw-b")  # it moves
            receiver.posted.clear()
            receiver.answers = lambda posted: 200
            await until(lambda: said(receiver) == ["1"])
