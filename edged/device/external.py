"""Devices that no mapper here reads: their values come from outside, by MQTT or a mapper in a process of its own. Pure.

Such a device is wired as any other and has a twin as any other, which is told instead of asked. What it should be
(`desired`) is told to whoever tells its values; it is applied once they say so.
"""

from collections.abc import Mapping
from typing import NamedTuple

from edged.device.mapper import Mappers, Session
from edged.errors import UnreachableError
from edged.model.meta import JSON
from edged.model.values import Value

EDGE_VERSION, CLOUD_VERSION = "version", "cloudVersion"  # in a value's metadata: how often which side wrote it


class Place(NamedTuple):
    """Where a property is: outside."""

    writable: bool = True

    def nearest(self, value: Value) -> Value:
        """Whoever is outside takes it as it is."""
        return value


class External:
    """The mapper of devices that nobody here talks to."""

    def address(self, config: JSON) -> None:
        """Nowhere: configData is for whoever tells the values."""

    def point(self, type_: str, config: JSON) -> Place:
        """As above."""
        return Place()

    async def connect(self, address: None) -> Session[Place]:
        """There is nothing to connect to."""
        raise UnreachableError("its values come from outside")


def make(mappers: Mappers) -> External:
    """The mapper, as `mapper.MODULES` asks for it."""
    return External()


class Told(NamedTuple):
    """A value that somebody outside tells, as text; when it was so, in milliseconds since 1970, None: now."""

    value: str
    time: int | None = None


def next_version(metadata: Mapping[str, str]) -> dict[str, str]:
    """The versions of a value that is written here over one with this metadata."""
    cloud, edge = versions(metadata)
    return {CLOUD_VERSION: str(cloud), EDGE_VERSION: str(edge + 1)}


def versions(metadata: Mapping[str, str]) -> tuple[int, int]:
    """How often a value was written by the cloud, and at the edge; 0 where that is not told."""
    found = [metadata.get(name, "") for name in (CLOUD_VERSION, EDGE_VERSION)]
    cloud, edge = (int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0 for text in found)
    return cloud, edge
