from hypothesis import given
from hypothesis import strategies as st

from edged.store.digest import DAY, DAYS, Digest
from edged.wire.sync import DIGEST

NOW = 100 * DAY
Outline = tuple[str, str, str, str, str, str, int, int, int, bytes]


def outline(name: str, clock: int = NOW, *, gone: bool = False, signature: bytes = b"s") -> Outline:
    return ("site", "pods", "default", name, "body", "site/gw-a:1", 1, clock, int(gone), signature)


def digest(*rows: Outline) -> bytes:
    made = Digest()
    made.add(rows)
    return made.value


@given(st.permutations([outline(str(number), NOW + number, gone=number % 3 == 0) for number in range(9)]), st.integers(0, 9))
def test_the_order_and_the_pieces_do_not_matter(rows: list[Outline], cut: int) -> None:
    pieces = Digest()
    pieces.add(rows[:cut])
    pieces.add(rows[cut:])
    assert pieces.value == digest(*sorted(rows))
    assert len(pieces.value) == DIGEST


def test_whatever_is_another_shows() -> None:
    there = digest(outline("a"), outline("b"))
    assert there != digest(outline("a"))
    assert there != digest(outline("a"), outline("b", NOW + 1))
    assert there != digest(outline("a"), outline("b", signature=b"another"))
    assert there != digest(outline("a"), outline("b", gone=True))


def test_old_tombstones_do_not_count() -> None:
    old, late = outline("old", NOW - DAYS * DAY, gone=True), outline("late", NOW - (DAYS - 1) * DAY, gone=True)
    assert digest(outline("a"), old) == digest(outline("a"))
    assert digest(outline("a"), late) != digest(outline("a"))
