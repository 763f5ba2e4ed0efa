"""Answers what is asked on KubeEdge's topics: in order, and after what was asked for is on disk. A shell."""

from collections.abc import Callable, Mapping, Sequence

import trio

from edged.device.bus import payloads, topics
from edged.device.bus.client import Publish
from edged.device.bus.packets import Message
from edged.device.bus.payloads import CONFLICT, INTERNAL, NOT_FOUND, Failure, Update
from edged.device.bus.topics import OfDevice, OfNode
from edged.device.bus.updates import Check, Outcome, newer, plan, told_only
from edged.device.external import Told
from edged.device.mapper import Sample
from edged.device.worker import DEVICES, Devices
from edged.errors import ConflictError, InvalidError, NotFoundError, ProtocolError, StorageError
from edged.kit.log import Log
from edged.model.devices import Device
from edged.model.objects import Key, Object, key, typed
from edged.store.store import Store
from edged.store.writes import Put

TRIES = 5  # times that an update is planned anew because somebody else changed the Device meanwhile
MS = 1000

_Asked = tuple[int, str, bytes]  # which message, what it is, its payload


class Desk:
    """Answers for `node`, from `store` and what `devices` serves. `wall` gives seconds since 1970."""

    def __init__(
        self, store: Store, devices: Devices, node: str, wall: Callable[[], float], new_id: Callable[[], str], log: Log
    ) -> None:
        self._store, self._devices, self._node = store, devices, node
        self._wall, self._new_id, self._log = wall, new_id, log
        self._doubted: set[Key] = set()  # devices of which something wrong was told, and logged once

    async def answer(self, messages: Sequence[Message]) -> list[Publish]:
        """The answers to messages, in their order. What updates one device is one write; devices do not wait for each other."""
        answers: list[list[Publish]] = [[] for _ in messages]
        asked: dict[tuple[str, str], list[_Asked]] = {}
        for at, message in enumerate(messages):
            match topics.read(message.topic, self._node):
                case OfDevice(namespace, name, what):
                    asked.setdefault((namespace, name), []).append((at, what, message.payload))
                case OfNode(what):
                    answers[at] = [self._members(what, message.payload)]
        if len(asked) == 1:
            for (namespace, name), questions in asked.items():
                await self._of_device(namespace, name, questions, answers)
        else:
            async with trio.open_nursery() as nursery:
                for (namespace, name), questions in asked.items():
                    nursery.start_soon(self._of_device, namespace, name, questions, answers)
        return [each for answer in answers for each in answer]

    async def _of_device(self, namespace: str, name: str, asked: Sequence[_Asked], answers: list[list[Publish]]) -> None:
        updates: list[tuple[int, Update]] = []
        for at, what, payload in asked:
            try:
                if what == topics.TWIN_UPDATE:
                    updates.append((at, payloads.parse_update(payload)))
                    continue
                await self._update(namespace, name, updates, answers)
                updates = []
                answers[at] = await self._other(namespace, name, what, payload)
            except ProtocolError as error:
                failure = payloads.failed("", self._now(), Failure(payloads.BAD_REQUEST, str(error)))
                answers[at] = [Publish(topics.of_device(namespace, name, what + topics.RESULT), failure)]
        await self._update(namespace, name, updates, answers)

    async def _update(
        self, namespace: str, name: str, updates: Sequence[tuple[int, Update]], answers: list[list[Publish]]
    ) -> None:
        if not updates:
            return
        topic = topics.of_device(namespace, name, topics.TWIN_UPDATE + topics.RESULT)
        outcomes = await self._stored(key(Device, name, namespace), [update for _, update in updates])
        now = self._now()
        for (at, update), outcome in zip(updates, outcomes, strict=True):
            if isinstance(outcome, Failure):
                answers[at] = [Publish(topic, payloads.failed(update.event_id, now, outcome))]
            else:
                answers[at] = [Publish(topic, payloads.result(update.event_id, now, outcome))]

    async def _stored(self, of: Key, updates: Sequence[Update]) -> Sequence[Outcome]:
        for _ in range(TRIES):
            intake = self._devices.intake(of.namespace, of.name)
            if intake is not None and not any(update.expected for update in updates):
                also: list[Put] = []
                _, told, outcomes = told_only(intake.check, intake.wired, updates, self._now())
            elif (stored := self._store.get(of)) is not None:
                device = typed(stored, Device)
                check = _refusing(self._untold(device)) if intake is None else intake.check
                body, told, outcomes = plan(stored, device, self._devices.wire, check, updates, self._now())
                also = [] if body is None else [Put(of, body, stored.rv)]
            else:
                break
            try:
                if told and intake is not None:
                    await intake.told(told, also)
                elif also:
                    await self._store.write(*also)
            except ConflictError:
                continue
            except NotFoundError:
                break
            except StorageError as error:
                return [Failure(INTERNAL, str(error))] * len(updates)
            return outcomes
        else:
            return [Failure(CONFLICT, "somebody else goes on changing the device: try again")] * len(updates)
        return [Failure(NOT_FOUND, f"there is no device {of.namespace}/{of.name}")] * len(updates)

    async def _other(self, namespace: str, name: str, what: str, payload: bytes) -> list[Publish]:
        of = key(Device, name, namespace)
        if what == topics.DATA_UPDATE:
            await self._data(of, payload)
            return []
        if what == topics.CLOUD_UPDATED:
            return await self._from_cloud(of, payloads.parse_update(payload))
        answered = topics.of_device(namespace, name, what + topics.RESULT)
        said = ""
        if what == topics.STATE_UPDATE:
            event_id, said = payloads.parse_state(payload)
        else:
            event_id = payloads.parse_question(payload).event_id
        failure = await self._say(of, said) if said else None
        stored = self._store.get(of)
        if stored is None:
            failure = Failure(NOT_FOUND, f"there is no device {namespace}/{name}")
        if failure is not None or stored is None:
            return [Publish(answered, payloads.failed(event_id, self._now(), failure or Failure(NOT_FOUND, "")))]
        device = typed(stored, Device)
        if what == topics.TWIN_GET:
            return [Publish(answered, payloads.result(event_id, self._now(), payloads.shown(payloads.views(device))))]
        return [Publish(answered, payloads.state_result(event_id, self._now(), device))]

    async def _say(self, of: Key, state: str) -> Failure | None:
        intake = self._devices.intake(of.namespace, of.name)
        if intake is None:
            stored = self._store.get(of)
            return None if stored is None else Failure(payloads.BAD_REQUEST, self._untold(typed(stored, Device)))
        try:
            await intake.say(state)
        except (ConflictError, NotFoundError, StorageError) as error:
            return Failure(INTERNAL, str(error))
        return None

    async def _from_cloud(self, of: Key, update: Update) -> list[Publish]:
        """Of what the cloud wants, what is not older than what is here. What is, is answered with what is here."""
        stored = self._store.get(of)
        if stored is None:
            return []
        taken, refused = newer(typed(stored, Device), update)
        if taken.expected:
            await self._stored(of, [taken])
        views = {name: view for name, view in payloads.views(typed(stored, Device)).items() if name in refused}
        topic = topics.of_device(of.namespace, of.name, topics.EDGE_UPDATED)
        return [Publish(topic, payloads.edge_updated(self._new_id(), self._now(), {}, views))] if views else []

    async def _data(self, of: Key, payload: bytes) -> None:
        """A mapper's readings: they may be lost with this process. Nobody is answered, so what is wrong is logged, once."""
        intake = self._devices.intake(of.namespace, of.name)
        if intake is None:
            return
        try:
            intake.hear(intake.check(payloads.parse_data(payload)))
        except (ProtocolError, InvalidError) as error:
            if of not in self._doubted:
                self._log.warning(f"{topics.of_device(of.namespace, of.name, topics.DATA_UPDATE)} is not taken: {error}")
            self._doubted.add(of)
        else:
            self._doubted.discard(of)

    def _members(self, what: str, payload: bytes) -> Publish:
        topic = topics.of_node(self._node, what + topics.RESULT)
        try:
            event_id = payloads.parse_question(payload).event_id
        except ProtocolError as error:
            return Publish(topic, payloads.failed("", self._now(), Failure(payloads.BAD_REQUEST, str(error))))
        mine = [device for device in map(_device, self._store.list(DEVICES)) if device.spec.node_name == self._node]
        return Publish(topic, payloads.membership(event_id, self._now(), mine, twins=what == topics.MEMBERS_DETAIL))

    def _untold(self, device: Device) -> str:
        if device.spec.node_name != self._node:
            return f'the values of this device are told to the node that serves it, "{device.spec.node_name}"'
        return f"a mapper reads the values of this device ({device.spec.protocol.protocol_name}): nobody else tells them"

    def _now(self) -> int:
        return int(self._wall() * MS)


def _refusing(why: str) -> Check:
    def check(_values: Mapping[str, Told]) -> dict[str, Sample]:
        raise InvalidError(why)

    return check


def _device(stored: Object) -> Device:
    return typed(stored, Device)
