"""What devices said, on its way to the history, the bus and whoever is told."""

from collections.abc import Callable, Sequence

import msgspec


class Reading(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value of a property at a time: the device's own time where its protocol has one, else when it was read.

    `type` is the model's, in lower case; `value` is text, as a twin has it; `time` is in milliseconds since 1970.
    """

    property: str
    type: str
    value: str
    time: int


# Takes the readings of one device (namespace, name), in their order. It neither waits nor fails.
Take = Callable[[str, str, Sequence[Reading]], None]
