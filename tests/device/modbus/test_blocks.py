from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edged.device.mapper import PropertyError, Sample
from edged.device.modbus.blocks import Block, Place, block_reads, cuts_of, plan
from edged.device.modbus.registers import BIT_AREAS, COIL, HOLDING, INPUT, MAX_BITS, MAX_REGISTERS
from edged.device.modbus.visitor import register

places = st.one_of(
    st.builds(Place, st.sampled_from([HOLDING, INPUT]), st.integers(0, 400), st.integers(1, 125)),
    st.builds(Place, st.just(COIL), st.integers(0, 5000), st.just(1)),
)
gaps = st.integers(0, 20)


def holding(*spans: tuple[int, int]) -> list[Place]:
    return [Place(HOLDING, first, size) for first, size in spans]


def spans(blocks: list[Block]) -> list[tuple[int, int]]:
    return [(block.first, block.size) for block in blocks]


def test_small_gaps_are_read_and_large_ones_are_not() -> None:
    assert spans(plan(holding((0, 2), (10, 1), (20, 1)))) == [(0, 11), (20, 1)]
    assert spans(plan(holding((0, 2), (3, 1)), max_gap=0)) == [(0, 2), (3, 1)]
    assert spans(plan([Place(COIL, 0, 1), Place(COIL, 129, 1), Place(COIL, 259, 1)])) == [(0, 130), (259, 1)]


def test_no_read_is_too_long() -> None:
    assert spans(plan(holding(*((at, 1) for at in range(126))))) == [(0, 125), (125, 1)]
    assert spans(plan(holding((0, 120), (120, 6)))) == [(0, 120), (120, 6)]
    assert spans(plan([Place(COIL, at, 1) for at in range(2001)])) == [(0, 2000), (2000, 1)]


@given(st.lists(places, max_size=60), st.data(), gaps)
def test_every_place_is_read_within_the_limits(wanted: list[Place], data: st.DataObject, gap: int) -> None:
    cuts = data.draw(st.sets(st.sampled_from(wanted))) if wanted else set()
    blocks = plan(wanted, cuts, gap)
    assert sorted(place for block in blocks for place in block.places) == sorted(set(wanted))
    for block in blocks:
        assert block.size <= (MAX_BITS if block.area in BIT_AREAS else MAX_REGISTERS)
        end = block.first
        for place in block.places:
            assert block.area == place.area
            assert block.first <= place.first
            assert place.end <= block.first + block.size
            assert place.first - end <= (gap * 16 if block.area in BIT_AREAS else gap)
            end = max(end, place.end)
        assert end == block.first + block.size
        assert not cuts & set(block.places[1:])


@given(st.lists(places, max_size=60), gaps)
def test_what_is_cut_again_and_again_ends_in_single_places(wanted: list[Place], gap: int) -> None:
    cuts: set[Place] = set()
    for _ in range(200):
        blocks = plan(wanted, cuts, gap)
        new = {cut for block in blocks for cut in cuts_of(block)}
        if not new:
            break
        assert not new & cuts
        cuts |= new
    assert all(len(block.places) == 1 for block in blocks)


def test_a_block_is_cut_at_its_gaps_first() -> None:
    (block,) = plan(holding((0, 2), (2, 1), (5, 1), (6, 1), (9, 1)))
    assert [cut.first for cut in cuts_of(block)] == [5, 9]
    (solid,) = plan(holding((0, 2), (2, 1), (3, 1)))
    assert [cut.first for cut in cuts_of(solid)] == [2]


def point(offset: int, type_: str = "INT", **more: Any) -> Any:
    return register(type_, {"register": "HoldingRegister", "offset": offset, **more})


def test_an_answer_goes_where_it_belongs() -> None:
    points = [point(3), point(0, limit=2), point(3, "BOOLEAN", bit=1), point(2, "STRING"), point(3)]
    (read,) = block_reads(points, (), 8)
    assert read.request.pdu == b"\x03\0\0\0\4"
    found: list[Any] = [None] * len(points)
    read.fill(found, b"\0\1\0\2\xff\xff\0\7")
    assert found[:3] == [Sample(Decimal(7)), Sample(Decimal(0x10002)), Sample(value=True)]
    assert isinstance(found[3], PropertyError)
    assert found[4] == found[0]


def test_bits_of_an_answer() -> None:
    points = [register("BOOLEAN", {"register": "CoilRegister", "offset": at}) for at in (5, 15, 6)]
    (read,) = block_reads(points, (), 8)
    assert read.request.pdu == b"\x01\0\5\0\x0b"
    found: list[Any] = [None] * 3
    read.fill(found, b"\x02\x04")  # bits 1 and 10 from coil 5 on
    assert [each.value for each in found] == [False, True, True]
