import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.device.sampling import ON_CHANGE, ON_CHANGE_OR_PERIOD, ON_PERIOD, STRATEGIES, Sampler, Strategy
from edged.model.values import Value


def taken(strategy: Strategy, values: list[Value], cycle_s: float = 1.0) -> list[int]:
    """The places of the values that are readings, read one after another, a cycle apart."""
    sampler = Sampler(strategy, cycle_s)
    return [at for at, value in enumerate(values) if sampler.take(value, at * cycle_s)]


def test_each_change_is_a_reading() -> None:
    assert taken(Strategy(), [True, True, False, False, True]) == [0, 2, 4]
    assert taken(Strategy(), ["a", "a", b"a", "b"]) == [0, 2, 3]


def test_a_deadband_compares_with_the_last_reading() -> None:
    creeping = [Decimal(n) / 10 for n in range(21)]
    assert taken(Strategy(deadband=Decimal("0.5")), list(creeping)) == [0, 6, 12, 18]


def test_a_period_takes_unchanged_values() -> None:
    assert taken(Strategy(ON_PERIOD, 5), [Decimal(1)] * 16) == [0, 5, 10, 15]
    assert taken(Strategy(ON_PERIOD, 5), [Decimal(n) for n in range(16)]) == [0, 5, 10, 15]


def test_both() -> None:
    values: list[Value] = [Decimal(1)] * 7 + [Decimal(2)] + [Decimal(2)] * 5
    assert taken(Strategy(ON_CHANGE_OR_PERIOD, 5), values) == [0, 5, 7, 12]


def test_a_period_that_is_as_long_as_the_cycle_takes_all_whatever_the_jitter() -> None:
    sampler = Sampler(Strategy(ON_PERIOD, 1.0), 1.0)
    late = [0, 0.03, 0, 0.2, 0.01, 0, 0.3, 0]
    assert all(sampler.take(Decimal(1), at + more) for at, more in enumerate(late))


@given(st.lists(st.integers(0, 3), max_size=40), st.sampled_from(STRATEGIES), st.integers(1, 10))
def test_no_change_is_lost_and_no_period_is_empty(numbers: list[int], kind: str, period: int) -> None:
    found = taken(Strategy(kind, period), [Decimal(n) for n in numbers])
    if kind != ON_PERIOD:
        changes = [at for at, n in enumerate(numbers) if at == 0 or n != numbers[at - 1]]
        assert set(changes) <= set(found)
    if kind == ON_CHANGE:
        assert all(numbers[one] != numbers[other] for one, other in itertools.pairwise(found))
    else:
        assert all(other - one <= period for one, other in itertools.pairwise(found))


@pytest.mark.parametrize("kind", STRATEGIES)
def test_the_first_value_is_always_a_reading(kind: str) -> None:
    assert taken(Strategy(kind, 3600), [Decimal(1)]) == [0]
