"""What a server monitors and sends (Part 4, 5.13 and 5.14), complete and in order. On the asyncio loop."""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from asyncua import ua

from edged.device.aio import Batches
from edged.device.mapper import Found, PropertyError, Want
from edged.device.opcua.access import VALUE, Access, pieces, whole
from edged.device.opcua.nodes import KEEP_ALIVE_MS, Node, Times, queue, times
from edged.device.opcua.sequence import Sequence as Messages
from edged.device.opcua.variants import found, words
from edged.errors import UnreachableError
from edged.model.values import NUMBERS

MAX_MESSAGE_VALUES = 1000  # of a message: what was queued for minutes comes in pieces that fit frames.MAX_MESSAGE
SILENT_S = 3 * KEEP_ALIVE_MS / 1000  # a subscription that says nothing for so long is dead
NO_FILTER = {"BadFilterNotAllowed", "BadMonitoredItemFilterUnsupported", "BadMonitoredItemFilterInvalid"}
NO_FILTER |= {"BadDeadbandFilterInvalid"}
TRANSFERRED = (
    "GoodSubscriptionTransferred"  # by us, as a rule; were it another client, nothing more would come, which is noticed
)
NO_SUBSCRIPTION = {"BadNoSubscription", "BadSubscriptionIdInvalid"}

Heard = tuple[Node, Found]


class Subscription:
    """What is monitored of one server. `heard` gets the values; `lose` is told why no more will come."""

    def __init__(self, client: Any, access: Access, heard: Batches[Heard], lose: Callable[[Exception], None]) -> None:
        self._client, self._access, self._heard, self._lose = client, access, heard, lose
        self._id = 0
        self._messages = Messages()
        self.wants: tuple[Want[Node], ...] = ()
        self._hearing: frozenset[Node] = frozenset()
        self._missed: set[Node] = set()  # of these changes were lost, which is to be said with the next value
        self._alive_at = -math.inf
        self._publisher: asyncio.Task[None] | None = None

    @property
    def _session(self) -> Any:
        return self._client.uaclient.session

    async def subscribe(self, wants: Sequence[Want[Node]]) -> frozenset[Node]:
        """Have these monitored; what the server takes is returned. The same as before goes on without a gap."""
        wants = tuple(wants)
        before = self._id
        if before and wants == self.wants:
            return self._hearing
        self._missed = set(self._hearing) if wants == self.wants else set()  # the server gave up what it had queued
        self.wants, self._hearing, self._id = wants, frozenset(), 0
        if wants:
            await self._make(times(min(want.cycle_s for want in wants)))
        if before:
            await self._session.delete_subscriptions([before])
        return self._hearing

    async def _make(self, asked: Times) -> None:
        parameters = ua.CreateSubscriptionParameters(
            asked.publishing_ms, asked.lifetime, asked.keep_alive, MAX_MESSAGE_VALUES, True, 0
        )
        try:
            made = await self._session.create_subscription(parameters, lambda _: None)
        except ua.UaStatusCodeError:
            return  # the server has none, or none left: all is polled
        self._id, self._messages = made.SubscriptionId, Messages()
        self.keep_publishing()
        self._hearing = frozenset(self.wants[at].point for at in await self._monitor(range(len(self.wants)), filtered=True))

    async def _monitor(self, handles: Sequence[int], *, filtered: bool) -> list[int]:
        """Make monitored items; the handles of those that were made. Those whose deadband is refused are made without."""
        made, again = [], []
        places = await self._access.resolve([self.wants[at].point for at in handles])
        known = [(at, place) for at, place in zip(handles, places, strict=True) if not isinstance(place, PropertyError)]
        for some in pieces(known):
            items = [_item(at, place, self.wants[at], filtered=filtered) for at, place in some]
            asked = ua.CreateMonitoredItemsParameters(self._id, ua.TimestampsToReturn.Both, items)
            results = whole(some, await self._session.create_monitored_items(asked))
            for (at, _), result in zip(some, results, strict=True):
                if result.StatusCode.is_good():
                    made.append(at)
                elif filtered and result.StatusCode.name in NO_FILTER:
                    again.append(at)
        return made + (await self._monitor(again, filtered=False) if again else [])

    async def transfer(self) -> None:
        """Take the subscription of the session before into this one, where the server does that."""
        if not self._id:
            return
        asked = ua.TransferSubscriptionsParameters([self._id], False)
        try:
            (result,) = whole([0], await self._session.transfer_subscriptions(asked))
        except ua.UaStatusCodeError:
            self._id = 0
            return
        if not result.StatusCode.is_good():
            self._id = 0

    def keep_publishing(self) -> None:
        """The channel is open (again): take what comes, when anything is monitored."""
        self._alive_at = asyncio.get_running_loop().time()
        if self._id and (self._publisher is None or self._publisher.done()):
            self._publisher = asyncio.create_task(self._publish())

    def pause(self) -> None:
        """The channel is gone."""
        if self._publisher is not None and self._publisher is not asyncio.current_task():
            self._publisher.cancel()
        self._publisher = None

    def check(self) -> None:
        """UnreachableError: the server sends no sign of life any more, so what it monitors is given up."""
        if self._id and asyncio.get_running_loop().time() - self._alive_at > SILENT_S:
            self._id = 0
            raise UnreachableError("no longer sends what is monitored")

    async def _publish(self) -> None:
        """Take messages until the connection is lost."""
        acknowledged: list[Any] = []
        try:
            while self._id:
                result = (await self._session.publish(acknowledged)).Parameters
                self._alive_at = asyncio.get_running_loop().time()
                acknowledged = []
                if result.SubscriptionId == self._id:
                    numbers = await self._take(result.NotificationMessage)
                    acknowledged = [ua.SubscriptionAcknowledgement(result.SubscriptionId, number) for number in numbers]
        except Exception as error:
            if isinstance(error, ua.UaStatusCodeError) and ua.StatusCode(error.code).name in NO_SUBSCRIPTION:
                self._id = 0
            self._lose(error)

    async def _take(self, message: Any) -> list[int]:
        """Pass on a message, after those that are missing before it; the numbers of all. One without data is a sign of life."""
        missing = self._messages.missing(message.SequenceNumber)
        if missing is None:
            return [message.SequenceNumber]
        lost = False
        for number in missing:
            again = await self._republished(number)
            lost = lost or again is None
            if again is not None:
                self._pass_on(again)
            self._messages.passed(number)
        if message.NotificationData:
            self._pass_on(message)
            self._messages.passed(message.SequenceNumber)
            missing.append(message.SequenceNumber)
        if lost:  # what changed in it may not change again
            self._missed, hearing = set(self._hearing), list(self._hearing)
            found_now = await self._access.read(hearing)
            self._heard.put([(node, self._with_gap(node, what)) for node, what in zip(hearing, found_now, strict=True)])
        return missing

    async def _republished(self, number: int) -> Any:
        """A message again; None when the server does not have it any more."""
        try:
            message = await self._session.republish(self._id, number)
        except (OSError, TimeoutError):
            raise
        except Exception:  # refused, or it cannot be understood: it would end each session anew
            return None
        return message if message.NotificationData and message.SequenceNumber == number else None

    def _pass_on(self, message: Any) -> None:
        heard: list[Heard] = []
        for data in message.NotificationData or []:
            if isinstance(data, ua.DataChangeNotification):
                for item in data.MonitoredItems:
                    if 0 <= item.ClientHandle < len(self.wants):
                        node = self.wants[item.ClientHandle].point
                        heard.append((node, self._with_gap(node, found(node.type, item.Value))))
            elif isinstance(data, ua.StatusChangeNotification) and data.Status.name != TRANSFERRED:
                self._id = 0
                raise UnreachableError(f"ends what is monitored: {words(data.Status)}")
        if heard:
            self._heard.put(heard)

    def _with_gap(self, node: Node, what: Found) -> Found:
        if node not in self._missed or isinstance(what, PropertyError):
            return what
        self._missed.discard(node)
        return msgspec.structs.replace(what, gap=True)


def _item(handle: int, place: Any, want: Want[Node], *, filtered: bool) -> Any:
    parameters = ua.MonitoringParameters(handle, want.cycle_s * 1000, ua.ExtensionObject(), queue(want.cycle_s), True)
    if filtered and want.deadband and want.point.type in NUMBERS:
        absolute = int(ua.DeadbandType.Absolute)
        parameters.Filter = ua.DataChangeFilter(ua.DataChangeTrigger.StatusValue, absolute, float(want.deadband))
    watched = ua.ReadValueId(place, VALUE)
    return ua.MonitoredItemCreateRequest(watched, ua.MonitoringMode.Reporting, parameters)
