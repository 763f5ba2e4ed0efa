"""What changes of the devices of a node are told on the bus. Pure."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from edged.device.bus import payloads, topics
from edged.device.bus.payloads import View
from edged.model.devices import Device
from edged.model.objects import Key, Object, typed

News = tuple[str, bytes]  # topic, payload


class _Known(NamedTuple):
    body: bytes
    device: Device
    views: Mapping[str, View]


class Newsroom:
    """Knows the devices of `node`. `external` says of which the values come from outside; `new_id` makes event_ids."""

    def __init__(self, node: str, external: Callable[[Key], bool], new_id: Callable[[], str]) -> None:
        self._node, self._external, self._new_id = node, external, new_id
        self._known: dict[Key, _Known] = {}

    def changed(self, key: Key, obj: Object | None, now_ms: int) -> list[News]:
        """A Device is now `obj`, None: no more. What is to be said of it.

        Readings of a device that is polled say nothing here: they go out as `/data/update`.
        """
        known = self._known.get(key)
        external = self._external(key)
        if obj is not None and known is not None and known.body == obj.body and not external:
            return []
        device = None if obj is None else typed(obj, Device)
        if obj is None or device is None or device.spec.node_name != self._node:
            return self._gone(key, now_ms)
        views = payloads.views(device)
        self._known[key] = _Known(obj.body, device, views)
        if known is None:
            return [self._members(now_ms, added=device)]
        news = self._labels(known.device, device, now_ms)
        before, after = _told(known.views, external), _told(views, external)
        if before != after:
            of = (device.metadata.namespace, device.metadata.name)
            said = [
                (topics.EDGE_UPDATED, payloads.edge_updated(self._new_id(), now_ms, before, after)),
                (topics.DOCUMENT, payloads.document(self._new_id(), now_ms, before, after)),
            ]
            if (delta := payloads.delta(self._new_id(), now_ms, views)) is not None:
                said.insert(0, (topics.DELTA, delta))
            news += [(topics.of_device(*of, what), payload) for what, payload in said]
        return news

    def keys(self) -> set[Key]:
        """The keys of the devices of this node."""
        return set(self._known)

    def devices(self) -> list[Device]:
        """The devices of this node."""
        return [known.device for known in self._known.values()]

    def _gone(self, key: Key, now_ms: int) -> list[News]:
        known = self._known.pop(key, None)
        return [] if known is None else [self._members(now_ms, removed=known.device)]

    def _members(self, now_ms: int, *, added: Device | None = None, removed: Device | None = None) -> News:
        came, went = [added] if added else [], [removed] if removed else []
        payload = payloads.membership_updated(self._new_id(), now_ms, came, went)
        return topics.of_node(self._node, topics.MEMBERS_UPDATED), payload

    def _labels(self, before: Device, after: Device, now_ms: int) -> list[News]:
        if before.metadata.labels == after.metadata.labels:
            return []
        topic = topics.of_device(after.metadata.namespace, after.metadata.name, topics.UPDATED)
        return [(topic, payloads.attributes_updated(self._new_id(), now_ms, after))]


def _told(views: Mapping[str, View], external: bool) -> Mapping[str, View]:
    """What of a twin is news: of a device that is polled only what it should be."""
    if external:
        return views
    return {name: {part: what for part, what in view.items() if not part.startswith("actual")} for name, view in views.items()}
