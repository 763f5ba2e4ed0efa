from hypothesis import given
from hypothesis import strategies as st

from edged.device.opcua.sequence import LAST, MAX_MISSING, Sequence


def test_what_is_missing() -> None:
    messages = Sequence()
    assert messages.missing(1) == []
    messages.passed(1)
    assert messages.missing(4) == [2, 3]
    messages.passed(4)
    assert messages.missing(3) is None
    assert messages.missing(5) == []  # a sign of life has the number of the next message
    assert messages.missing(6) == [5]


def test_the_first_message_may_be_missing() -> None:
    assert Sequence().missing(3) == [1, 2]


def test_after_the_last_number_comes_the_first() -> None:
    messages = Sequence()
    messages.passed(LAST - 1)
    assert messages.missing(2) == [LAST, 1]
    messages.passed(LAST)
    assert messages.missing(1) == []
    assert messages.missing(LAST) is None


@given(st.integers(1, LAST), st.integers(1, LAST))
def test_no_server_can_ask_for_too_much(before: int, number: int) -> None:
    messages = Sequence()
    messages.passed(before)
    missing = messages.missing(number)
    assert missing is None or (len(missing) <= MAX_MISSING and all(1 <= each <= LAST for each in missing))
