"""`POST .../devices/NAME/call` and `GET .../devices/NAME/history`: what to ask of which node."""

from collections.abc import Mapping

import msgspec

from edged.api.exchange import number
from edged.api.status import StatusError
from edged.model.devices import Device
from edged.wire.peer import DeviceCall, DeviceHistory

MAX_BODY = 12 << 10  # bytes: it goes to another node in one frame of at most 16 kB

MOST = 10_000  # readings of one answer
EVER = 1 << 53  # milliseconds since 1970 that are later than any


class CallBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The method to call, and its arguments: `property=value` each, or values in their order."""

    method: str
    arguments: list[str] = []


def calling(device: Device, body: bytes) -> DeviceCall:
    """The call that a body asks for. StatusError 400 when it is none, 413 when it is too long."""
    if len(body) > MAX_BODY:
        raise StatusError(413, f"the call is {len(body)} bytes, at most {MAX_BODY} are taken")
    try:
        asked = msgspec.json.decode(body, type=CallBody)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise StatusError(400, f"expected a method and its arguments: {error}") from error
    return DeviceCall(device.metadata.namespace, device.metadata.name, asked.method, asked.arguments)


def history(device: Device, query: Mapping[str, str]) -> DeviceHistory:
    """The readings that a query asks for: `property`, `since`, `until` (milliseconds since 1970), `limit`. StatusError 400."""
    since, until, limit = (_number(query, name, usual) for name, usual in (("since", 0), ("until", EVER), ("limit", MOST)))
    metadata = device.metadata
    return DeviceHistory(metadata.namespace, metadata.name, query.get("property", ""), since, until, min(limit, MOST))


def _number(query: Mapping[str, str], name: str, usual: int) -> int:
    text = query.get(name, "")
    value = number(text) if text else usual
    if value is None or value > EVER:
        raise StatusError(400, f'{name}: Invalid value: "{text[:32]}": must be a whole number')
    return value


def serving(device: Device) -> str:
    """The node that serves a device. StatusError 400 when none does."""
    if not device.spec.node_name:
        raise StatusError(400, f"device {device.metadata.name} is served by no node")
    return device.spec.node_name
