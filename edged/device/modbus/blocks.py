"""Many places of a device in few reads: which blocks of registers are asked for, and what to do when a device refuses one."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from edged.device.mapper import Found, PropertyError, Sample
from edged.device.modbus.pdu import Request, read
from edged.device.modbus.registers import BIT_AREAS, MAX_BITS, MAX_REGISTERS, Area, Decode, Register, decoder

MAX_GAP = 8  # registers that are read although nobody asks: they cost less than the frames of another read
BITS = 16  # in a register


class Place(NamedTuple):
    """Registers or coils that one property is made of."""

    area: Area
    first: int
    size: int

    @property
    def end(self) -> int:
        """The address after its last."""
        return self.first + self.size


class Block(NamedTuple):
    """What one read asks for: its `places`, in the order of their addresses, and what lies between them."""

    area: Area
    first: int
    size: int
    places: tuple[Place, ...]


def plan(places: Collection[Place], cuts: Collection[Place] = (), max_gap: int = MAX_GAP) -> list[Block]:
    """The reads that cover all places, as few as their limits allow. At a place of `cuts` begins a block.

    `max_gap` is in registers; of coils it is as many bits. No place is longer than one read may be.
    """
    blocks: list[Block] = []
    for place in sorted(set(places)):
        last = blocks[-1] if blocks else None
        if last is not None and place not in cuts and _joins(last, place, max_gap):
            end = max(last.first + last.size, place.end)
            blocks[-1] = last._replace(size=end - last.first, places=(*last.places, place))
        else:
            blocks.append(Block(*place, places=(place,)))
    return blocks


def _joins(block: Block, place: Place, max_gap: int) -> bool:
    if block.area != place.area:
        return False
    bits = block.area in BIT_AREAS
    gap = place.first - (block.first + block.size)
    return gap <= max_gap * (BITS if bits else 1) and place.end - block.first <= (MAX_BITS if bits else MAX_REGISTERS)


def cuts_of(block: Block) -> Sequence[Place]:
    """Where to cut a block that was refused: at its gaps; without any in the middle. Nowhere when it is one place."""
    gaps, end = [], block.first
    for place in block.places:
        if place.first > end:
            gaps.append(place)
        end = max(end, place.end)
    return gaps or block.places[len(block.places) // 2 : len(block.places) // 2 + 1] * (len(block.places) > 1)


class _Take(NamedTuple):
    """The part of an answer's data that is for the property `at`: bytes, or one bit."""

    at: int
    start: int
    stop: int
    decode: Decode


class BlockRead:
    """A block, the request for it, and the properties that are in its answer: `wanted` says which are at a place."""

    def __init__(self, block: Block, wanted: Mapping[Place, Sequence[tuple[int, Decode]]]) -> None:
        self.block = block
        self.request: Request = read(block.area, block.first, block.size)
        self._wanted = wanted
        self._bits = block.area in BIT_AREAS
        each = 1 if self._bits else 2  # bytes
        self._takes = [
            _Take(at, each * (place.first - block.first), each * (place.end - block.first), decode)
            for place in block.places
            for at, decode in wanted[place]
        ]

    def fill(self, found: list[Found], data: bytes) -> None:
        """Put what the answer says where it belongs."""
        if self._bits:
            data = bytes(byte >> bit & 1 for byte in data for bit in range(8))
        for at, start, stop, decode in self._takes:
            try:
                found[at] = Sample(decode(data[start:stop]))
            except PropertyError as error:
                found[at] = error

    def fail(self, found: list[Found], error: PropertyError) -> None:
        """None of them has a value."""
        for take in self._takes:
            found[take.at] = error

    def parts(self, cuts: Collection[Place], max_gap: int) -> list["BlockRead"]:
        """The same in smaller blocks."""
        return [BlockRead(block, self._wanted) for block in plan(self.block.places, cuts, max_gap)]


def block_reads(points: Sequence[Register], cuts: Collection[Place], max_gap: int) -> list[BlockRead]:
    """The reads for properties; `found` of what they `fill` is in the order of `points`."""
    wanted: dict[Place, list[tuple[int, Decode]]] = {}
    for at, point in enumerate(points):
        wanted.setdefault(Place(point.area, point.offset, point.count), []).append((at, decoder(point)))
    return [BlockRead(block, wanted) for block in plan(wanted, cuts, max_gap)]
