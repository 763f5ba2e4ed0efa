"""Reports, and how many of them become one block of bytes in the file (pure).

A block is MessagePack, compressed: readings of a device are much alike, so it is a fifth to a tenth of what it holds,
and what flash wears out by is bytes. zlib (RFC 1950) ends with a checksum: a block that rotted is known for it.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from edged.device.readings import Reading
from edged.errors import ProtocolError

LEVEL = 1  # of compression: the higher ones take three times as long for a tenth less
MAX_BLOCK = 64 << 20  # bytes that a block may unpack to: many times what one is made of
BLOCK_BYTES = 256 << 10  # of reports in one block: what a reader holds in memory at once
REPORT_BYTES, READING_BYTES = 40, 24  # what each takes beside its texts, about


class Report(NamedTuple):
    """What a device said at once. Ids rise, and none is used twice by one node."""

    id: int
    namespace: str
    device: str
    readings: tuple[Reading, ...]

    @property
    def size(self) -> int:
        """Bytes that it takes in memory and, before compression, in the file: about."""
        texts = sum([len(each.value) + len(each.property) for each in self.readings])
        return REPORT_BYTES + len(self.device) + texts + READING_BYTES * len(self.readings)


def pack(reports: Sequence[Report]) -> bytes:
    """A block of these reports."""
    return zlib.compress(_ENCODER.encode(reports), LEVEL)


def unpack(block: bytes) -> list[Report]:
    """The reports of a block. ProtocolError when it is not what `pack` made."""
    try:
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(block, MAX_BLOCK)
        if not unpacker.eof:
            raise ProtocolError("a block of readings is cut off, or too long")
        return _DECODER.decode(plain)
    except (zlib.error, ValueError) as error:
        raise ProtocolError(f"a block of readings is damaged: {error}") from error


def blocks(reports: Sequence[Report]) -> Iterator[Sequence[Report]]:
    """The same reports in pieces of about BLOCK_BYTES, one report at least in each."""
    begin = size = 0
    for at, report in enumerate(reports):
        more = report.size
        if size and size + more > BLOCK_BYTES:
            yield reports[begin:at]
            begin, size = at, 0
        size += more
    if begin < len(reports):
        yield reports[begin:]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Report])
