"""Blocks come back as they were, and only their declared error comes out of what is no block."""

import random
import zlib

import pytest

from edged.device.history.reports import BLOCK_BYTES, MAX_BLOCK, Report, blocks, pack, unpack
from edged.device.readings import Reading
from edged.errors import ProtocolError


def report(id_: int, value: str = "21.5") -> Report:
    return Report(id_, "default", "meter", (Reading("power", "float", value, 1_700_000_000_000 + id_),))


def test_a_block_comes_back_as_it_was() -> None:
    some = [report(1), Report(7, "plant", "pump-1", (Reading("a", "string", "\0ü", 5), Reading("b", "int", "-1", 6)))]
    assert unpack(pack(some)) == some


def test_a_block_is_much_smaller_than_what_it_holds() -> None:
    some = [report(number, f"{number % 50}.5") for number in range(1000)]
    assert len(pack(some)) * 4 < sum(each.size for each in some)


def test_of_damaged_blocks_comes_the_declared_error_or_what_was_put_in() -> None:
    chance, some = random.Random(5), [report(number) for number in range(200)]
    good = pack(some)
    for _ in range(3000):
        bad = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        bad = bad[: chance.randint(0, len(bad))] if chance.random() < 0.3 else bad
        try:
            assert unpack(bytes(bad)) == some
        except ProtocolError:
            continue


@pytest.mark.parametrize("plain", [b"", b"\xc1", b"\x91\x94", b"\x91\x93\x01\xa1a\xa1b"])
def test_what_is_whole_and_no_reports_is_refused(plain: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack(zlib.compress(plain))


def test_a_block_that_unpacks_without_end_is_refused() -> None:
    with pytest.raises(ProtocolError):
        unpack(zlib.compress(bytes(MAX_BLOCK + 1)))


def test_reports_are_cut_into_blocks_and_none_is_lost() -> None:
    some = [report(number, "v" * (number * 37 % 5000)) for number in range(1000)]
    some.append(report(2000, "v" * BLOCK_BYTES * 2))
    cut = list(blocks(some))
    assert [each for block in cut for each in block] == some
    assert all(len(block) == 1 or sum(each.size for each in block) <= BLOCK_BYTES for block in cut)
    assert list(blocks([])) == []
