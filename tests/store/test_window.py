import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ExpiredError
from edged.model.objects import Key, Object
from edged.store.window import MAX_BYTES, MAX_CHANGES, Window
from edged.store.writes import ADDED, Change


def change(rv: int, size: int = 1) -> Change:
    return Change(ADDED, rv, Object(Key("pods", "default", str(rv)), rv, "u", bytes(size), None))


@given(st.lists(st.integers(0, 2), max_size=200), st.integers(0, 250))
def test_since_is_all_that_came_after(steps: list[int], since: int) -> None:
    window, rv, all_ = Window(0), 0, []
    for step in steps:
        rv += step
        if rv:
            all_.append(change(rv))
            window.append(all_[-1])
    if since > window.revision:
        with pytest.raises(ExpiredError):
            window.since(since)
    else:
        assert window.since(since) == [each for each in all_ if each.rv > since]


def test_it_forgets_by_number() -> None:
    window = Window(0)
    for rv in range(1, MAX_CHANGES + 11):
        window.append(change(rv))
    assert len(window.since(10)) == MAX_CHANGES
    with pytest.raises(ExpiredError, match="too old resource version: 9"):
        window.since(9)


def test_it_forgets_by_size() -> None:
    window = Window(0)
    for rv in range(1, 6):
        window.append(change(rv, MAX_BYTES // 3))
    assert len(window.since(window.start)) == 3


def test_numbers_without_a_change_count() -> None:
    window = Window(5)
    window.advance(9)
    assert window.since(9) == window.since(5) == []
