"""What calling a method of a device does: values for properties, one after the other, or a method of the mapper's own."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from edged.device.wiring import Wired, Wiring, wanted
from edged.errors import InvalidError, NotFoundError
from edged.model.devices import Device, DeviceMethod, DeviceModel
from edged.model.values import BOOLEANS, Value, decimal

MAX_ARGUMENTS = 64  # of one call: KubeEdge's methods name a few properties


class Call(NamedTuple):
    """A call that can be made. With no `writes` it is the mapper's own method, with these arguments."""

    method: str
    writes: tuple[tuple[Wired, Value], ...] = ()
    arguments: tuple[Value, ...] = ()


def prepared(device: Device, model: DeviceModel | None, wiring: Wiring, name: str, arguments: Sequence[str]) -> Call:
    """The call of method `name`. NotFoundError when the device has no such method, InvalidError when it takes no such values.

    Arguments are `property=value` for a method that names properties; `value` alone if it names one. For others they are
    numbers, true or false, or else text.
    """
    method = next((each for each in device.spec.methods if each.name == name), None)
    if method is None:
        known = ", ".join(each.name for each in device.spec.methods) or "none"
        raise NotFoundError(f'device "{device.metadata.name}" has no method "{name[:128]}"; it has: {known}')
    if len(arguments) > MAX_ARGUMENTS:
        raise InvalidError(f"{len(arguments)} arguments, at most {MAX_ARGUMENTS} are taken")
    if not method.property_names:
        return Call(name, arguments=tuple(map(argument, arguments)))
    values = dict(_assigned(method, each) for each in arguments)
    if not values:
        raise InvalidError(f"method {name} takes values: {_usage(method.property_names)}")
    wired = {each.name: each for each in wiring.properties}
    modelled = {each.name: each for each in model.spec.properties} if model is not None else {}
    writes = []
    for each, text in values.items():
        if each not in wired or each not in modelled:
            raise InvalidError(f"{each}: the device has no such property, or it is wired wrong: see its conditions")
        try:
            writes.append((wired[each], wanted(wired[each], modelled[each], text).value))
        except ValueError as error:
            raise InvalidError(f"{each}: {error}") from error
    return Call(name, tuple(writes))


def argument(text: str) -> Value:
    """What a text most likely is, where nothing says its type."""
    if text in BOOLEANS and not text.isdigit():
        return BOOLEANS[text]
    try:
        return decimal(text)
    except ValueError:
        return text


def _assigned(method: DeviceMethod, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if name in method.property_names and equals:
        return name, value
    if len(method.property_names) == 1:
        return method.property_names[0], text
    raise InvalidError(f'"{text[:128]}": method {method.name} takes {_usage(method.property_names)}')


def _usage(names: Iterable[str]) -> str:
    return " ".join(f"{name}=VALUE" for name in names)
