"""The MQTT bus of a node: connects to the broker, answers there, tells what devices say. A shell."""

import uuid
from collections import deque
from collections.abc import Callable, Collection, Sequence
from random import Random

import trio

from edged.device.alarms import Turn
from edged.device.bus import exchange, payloads, topics
from edged.device.bus.client import Publish
from edged.device.readings import Reading
from edged.device.worker import Devices
from edged.errors import DeniedError, UnreachableError
from edged.kit.backoff import Backoff
from edged.kit.broker import BrokerSettings, parse_broker
from edged.kit.log import Log
from edged.kit.queues import DropOldest
from edged.kit.supervise import first
from edged.store.store import Store

FIRST_RETRY_S, LAST_RETRY_S = 0.5, 30.0  # a broker that comes back is found within half a minute; looking costs one connection
LOOK_S = 5.0  # for a TCP connection
MAX_OUT = (
    4096  # messages that wait to be told: some seconds of a busy gateway; then the oldest go. Durable ways are pushMethods
)
MAX_UNANSWERED = 16 << 10  # messages heard and not answered, over connections that break again and again; the oldest go
MS = 1000


class Bus:
    """The bus of `node`, whose devices `devices` serves. `wall` gives seconds since 1970."""

    def __init__(
        self,
        settings: BrokerSettings,
        store: Store,
        devices: Devices,
        node: str,
        wall: Callable[[], float],
        random: Random,
        log: Log,
    ) -> None:
        self._settings, self._store, self._devices, self._node = settings, store, devices, node
        self.wall, self._random, self._log = wall, random, log
        self._out: DropOldest[Publish] = DropOldest(MAX_OUT)
        self.untold: Sequence[Publish] = ()  # alarms that went out, and that the broker may not have
        self.is_connected = False
        self._told_away = ""
        self.unanswered: deque[tuple[str, bytes]] = deque(maxlen=MAX_UNANSWERED)  # heard, and not answered yet
        self._wanted: frozenset[str] = frozenset()
        self._wants_changed = trio.Event()
        self.on_other: Callable[[Sequence[tuple[str, bytes]]], None] = lambda _: None  # takes what comes under `want`

    @property
    def dropped(self) -> int:
        """How many messages were pushed out by newer ones before the broker took them."""
        return self._out.dropped

    def take(self, namespace: str, name: str, readings: Sequence[Reading]) -> None:
        """Tell what a device of this node says (`readings.Take`); lost when the broker is away.

        Who tells a device's values on the bus itself is not told them again.
        """
        if self.is_connected and not self._devices.told_by_anybody(namespace, name):
            payload = payloads.data_update(self.new_id(), self.now(), readings)
            self._out.put(Publish(topics.of_device(namespace, name, topics.DATA_UPDATE), payload, qos=0))

    def take_alarm(self, namespace: str, name: str, of: str, turn: Turn) -> None:
        """Tell an alarm that turned (`alarms.TakeAlarm`) until the broker has it, also one that was away."""
        if self._settings.url:
            payload = payloads.alarm(self.new_id(), self.now(), of, turn)
            self._out.put(Publish(topics.of_device(namespace, name, topics.ALARM), payload))

    def say(self, topic: str, payload: bytes) -> None:
        """Publish anything; lost when the broker is away."""
        if self.is_connected:
            self._out.put(Publish(topic, payload, qos=0))

    def want(self, filters: Collection[str]) -> None:
        """What comes under these topic filters goes to `on_other`."""
        if frozenset(filters) != self._wanted:
            self._wanted = frozenset(filters)
            changed, self._wants_changed = self._wants_changed, trio.Event()
            changed.set()

    @property
    def wanted(self) -> tuple[frozenset[str], trio.Event]:
        """Those filters, and when there are others."""
        return self._wanted, self._wants_changed

    def now(self) -> int:
        """Milliseconds since 1970."""
        return int(self.wall() * MS)

    def new_id(self) -> str:
        """An event_id of our own."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Started at once: the broker may come at any time."""
        task_status.started()
        if not self._settings.url:
            return
        backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S, self._random)
        while True:
            try:
                await self._look()
                await exchange.serve(self._settings, self._node, self._store, self._devices, self, self._log, backoff)
            except* (UnreachableError, DeniedError) as errors:
                self._away(str(first(errors)))
            await trio.sleep(backoff.next())

    def connected(self, yes: bool) -> None:
        """Whether there is a broker now that takes what is told."""
        if yes and self._told_away:
            self._log.info("the MQTT broker is there")
            self._told_away = ""
        self.is_connected = yes

    async def next(self, most: int) -> list[Publish]:
        """Wait for what is to be told, oldest first."""
        return await self._out.take(most)

    async def _look(self) -> None:
        """UnreachableError when nobody takes a connection where the broker is to be."""
        address, _ = parse_broker(self._settings.url)
        try:
            with trio.fail_after(LOOK_S):
                stream = await trio.open_tcp_stream(address.host, address.port)
        except (OSError, trio.TooSlowError) as error:
            raise UnreachableError(f"nobody is at {self._settings.url}") from error
        await trio.aclose_forcefully(stream)

    def _away(self, why: str) -> None:
        if why != self._told_away:
            self._log.info(f"no MQTT: {why}; looking again at least every {LAST_RETRY_S:g} s")
        self._told_away = why
