"""A node on a broker, from one connection to its end: what is asked is answered, what changes is told. A shell.

There are two connections, one to hear and one to speak: whoever waits for its answers to be taken must not stop the
acknowledgements of those answers by not listening.
"""

import ssl
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from edged.device.bus import payloads, topics
from edged.device.bus.client import Broker, MqttConnection, connected
from edged.device.bus.desk import Desk
from edged.device.bus.news import Newsroom
from edged.device.bus.packets import Message
from edged.device.bus.session import MAX_FILTERS
from edged.device.worker import DEVICES, Devices
from edged.errors import DeniedError, ExpiredError, UnreachableError
from edged.kit.backoff import Backoff
from edged.kit.broker import BrokerSettings, parse_broker
from edged.kit.log import Log
from edged.model.objects import Key
from edged.store.store import Store

if TYPE_CHECKING:
    from edged.device.bus.bus import Bus

MAX_TOGETHER = 128  # messages that are answered together: more would let the first wait for the last
NEWS_S = 0.05  # of one device's twin, more documents a second than twenty are read by nobody
MAX_PASSWORD = 4096  # characters of a password file
MS = 1000


async def serve(
    settings: BrokerSettings, node: str, store: Store, devices: Devices, bus: "Bus", log: Log, backoff: Backoff
) -> None:
    """Until the broker is away (UnreachableError in a group), or refuses us (DeniedError)."""
    broker = broker_of(settings)
    now = bus.now
    will = Message(topics.DISCONNECTED + node, payloads.connected(now(), "disconnected"))
    async with (
        connected(broker, f"edged-{node}", listens=True, will=will) as ears,
        connected(broker, f"edged-{node}-out") as mouth,
    ):
        exchange = _Exchange(node, store, devices, bus, log, ears, mouth)
        await exchange.listen(topics.asked(node), 1)
        await mouth.publish(topics.CONNECTED + node, payloads.connected(now(), "connected"))
        backoff.reset()
        bus.connected(True)
        try:
            async with trio.open_nursery() as nursery:
                for task in (exchange.answer, exchange.tell, exchange.watch, exchange.listen_for_others):
                    nursery.start_soon(task)
        finally:
            bus.connected(False)
            bus.unanswered.extend((each.topic, each.payload) for each in ears.receive_nowait())


class _Exchange:
    def __init__(
        self,
        node: str,
        store: Store,
        devices: Devices,
        bus: "Bus",
        log: Log,
        ears: MqttConnection,
        mouth: MqttConnection,
    ) -> None:
        self._store, self._devices, self._bus = store, devices, bus
        self._ears, self._mouth = ears, mouth
        self._desk = Desk(store, devices, node, bus.wall, bus.new_id, log)
        self._news = Newsroom(node, self._external, bus.new_id)
        self._heard: set[str] = set()  # filters of devices whose readings are told on the bus

    async def listen(self, filters: list[str], qos: int) -> None:
        """Subscribe. DeniedError when the broker does not grant it."""
        for at in range(0, len(filters), MAX_FILTERS):
            if refused := await self._ears.subscribe(filters[at : at + MAX_FILTERS], qos):
                raise DeniedError(f"the MQTT broker does not let us hear {', '.join(refused)}")

    async def answer(self) -> None:
        """Answer what is asked, in order. What was heard and not answered when the broker went is answered when it is back."""
        unanswered = self._bus.unanswered
        while True:
            messages = self._ears.receive_nowait() if unanswered else await self._ears.receive()
            unanswered.extend((each.topic, each.payload) for each in messages)
            some = list(islice(unanswered, MAX_TOGETHER))
            answers = await self._desk.answer([Message(*each) for each in some])
            await self._mouth.publish_all(answers)
            self._bus.on_other(some)
            for _ in some:
                unanswered.popleft()

    async def listen_for_others(self) -> None:
        """Subscribe to what rules want, as it changes."""
        heard: frozenset[str] = frozenset()
        while True:
            wanted, changed = self._bus.wanted
            if gone := heard - wanted:
                self._ears.unsubscribe(sorted(gone))
            await self.listen(sorted(wanted - heard), 1)
            heard = wanted
            await changed.wait()

    async def tell(self) -> None:
        """Publish what is to be told: alarms until the broker has them, all else at most once."""
        bus = self._bus
        while True:
            waiting = bus.untold or await bus.next(MAX_TOGETHER)
            bus.untold = [each for each in waiting if each.qos]
            await self._mouth.publish_all(waiting)
            bus.untold = ()

    async def watch(self) -> None:
        """Tell what changes of this node's devices; what waits to be applied is told now."""
        seen, told_at = self._store.revision, -NEWS_S
        for each in self._store.list(DEVICES):
            self._news.changed(each.key, each, self._bus.now())
        for device in self._news.devices():
            delta = payloads.delta(self._bus.new_id(), self._bus.now(), payloads.views(device))
            if delta is not None:
                self._bus.say(topics.of_device(device.metadata.namespace, device.metadata.name, topics.DELTA), delta)
        while True:
            await self._hear_readings()
            await self._store.changed(seen)
            await trio.sleep_until(told_at + NEWS_S)  # the first change is told at once, what follows closely together
            told_at = trio.current_time()
            revision, changed = self._store.revision, self._changed(seen)
            for key in changed:
                for topic, payload in self._news.changed(key, self._store.get(key), self._bus.now()):
                    self._bus.say(topic, payload)
            seen = revision

    def _changed(self, since: int) -> list[Key]:
        try:
            changes = self._store.changes(since)
        except ExpiredError:
            return list({each.key for each in self._store.list(DEVICES)} | self._news.keys())
        return list(dict.fromkeys(each.object.key for each in changes if each.object.key.resource == DEVICES))

    async def _hear_readings(self) -> None:
        wanted = {
            topics.of_device(*of, topics.DATA_UPDATE)
            for each in self._news.devices()
            if self._devices.told_by_anybody(*(of := (each.metadata.namespace, each.metadata.name)))
        }
        if gone := self._heard - wanted:
            self._ears.unsubscribe(sorted(gone))
        await self.listen(sorted(wanted - self._heard), 0)
        self._heard = wanted

    def _external(self, key: Key) -> bool:
        return self._devices.intake(key.namespace, key.name) is not None


def broker_of(settings: BrokerSettings) -> Broker:
    """The broker that the settings name. UnreachableError when a file of theirs cannot be read."""
    address, secure = parse_broker(settings.url)
    try:
        password = Path(settings.password_file).read_text()[:MAX_PASSWORD].strip() if settings.password_file else ""
        tls = None
        if secure:
            tls = ssl.create_default_context(cafile=settings.authority_file or None)
            if settings.certificate_file:
                tls.load_cert_chain(settings.certificate_file)
    except (OSError, ValueError) as error:
        raise UnreachableError(f"the settings of the MQTT broker: {error}") from error
    return Broker(address, tls, settings.user, password)
