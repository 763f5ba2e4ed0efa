import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.device.alarms import ABOVE, BELOW, EQUALS, FALLING, RISING, Alarm, Limit
from edged.model.values import Value


def turns(alarm: Alarm, values: list[Value], step_s: float = 1.0) -> list[tuple[int, bool]]:
    """(place, raised or cleared) of each turn, values being read `step_s` apart."""
    found = [(at, alarm.take(value, at * step_s)) for at, value in enumerate(values)]
    return [(at, turn.on) for at, turn in found if turn is not None]


def decimals(*numbers: float) -> list[Value]:
    return [Decimal(str(number)) for number in numbers]


def test_above() -> None:
    alarm = Alarm(Limit("hot", ABOVE, Decimal(80)))
    assert turns(alarm, decimals(79, 80, 80.1, 90, 80, 85)) == [(2, True), (4, False), (5, True)]


def test_below_with_hysteresis() -> None:
    alarm = Alarm(Limit("cold", BELOW, Decimal(5), hysteresis=Decimal(2)))
    assert turns(alarm, decimals(6, 4.9, 5.5, 6.9, 7, 5.5, 4)) == [(1, True), (4, False), (6, True)]


def test_a_value_at_a_limit_that_has_no_hysteresis_flaps_and_with_it_does_not() -> None:
    restless = decimals(*[80 + (-1) ** n * 0.1 for n in range(20)])
    assert len(turns(Alarm(Limit("hot", ABOVE, Decimal(80))), restless)) == 20
    assert len(turns(Alarm(Limit("hot", ABOVE, Decimal(80), hysteresis=Decimal(1))), restless)) == 1


def test_a_delay_without_a_break() -> None:
    alarm = Alarm(Limit("hot", ABOVE, Decimal(80), delay_s=3))
    assert turns(alarm, decimals(81, 81, 79, 81, 81, 81, 81, 79)) == [(6, True), (7, False)]


def test_a_delay_is_over_without_a_new_value() -> None:
    alarm = Alarm(Limit("hot", ABOVE, Decimal(80), delay_s=3))
    assert alarm.take(Decimal(81), 10) is None
    assert alarm.due == 13
    assert alarm.settle(12.9) is None
    turn = alarm.settle(13)
    assert turn is not None
    assert (turn.on, turn.words) == (True, "is 81, the limit is above 80")
    assert alarm.due == math.inf
    assert alarm.settle(99) is None


def test_rates_are_a_minute() -> None:
    rising = Alarm(Limit("leak", RISING, Decimal(60)))
    assert turns(rising, decimals(0, 1, 2, 3.5, 4)) == [(3, True), (4, False)]
    falling = Alarm(Limit("leak", FALLING, Decimal(60)))
    assert turns(falling, decimals(10, 8, 8, 20)) == [(1, True), (2, False)]


def test_a_boolean() -> None:
    alarm = Alarm(Limit("door", EQUALS, Decimal(1), delay_s=2))
    assert turns(alarm, [False, True, True, True, False]) == [(3, True), (4, False)]


@pytest.mark.parametrize("value", ["text", b"\0"])
def test_what_is_no_number_says_nothing(value: Value) -> None:
    assert Alarm(Limit("hot", ABOVE, Decimal(0))).take(value, 0) is None


def test_an_alarm_that_was_raised_before_is_not_raised_again() -> None:
    alarm = Alarm(Limit("hot", ABOVE, Decimal(80), hysteresis=Decimal(5)), raised=True)
    assert turns(alarm, decimals(81, 79, 90, 74)) == [(3, False)]


@given(st.lists(st.integers(0, 10), max_size=60), st.sampled_from([ABOVE, BELOW]), st.integers(0, 3), st.integers(0, 4))
def test_turns_take_turns_and_the_last_word_is_true(numbers: list[int], kind: str, hysteresis: int, delay: int) -> None:
    alarm = Alarm(Limit("a", kind, Decimal(5), Decimal(hysteresis), delay))
    found = turns(alarm, decimals(*numbers))
    assert [on for _, on in found] == [at % 2 == 0 for at in range(len(found))]
    passed = [number > 5 if kind == ABOVE else number < 5 for number in numbers]
    if len(passed) > delay and all(passed[-delay - 1 :]):
        assert alarm.raised
    if numbers and abs(numbers[-1] - 5) >= hysteresis and not passed[-1]:
        assert not alarm.raised
