from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.kit.backoff import Backoff


@given(st.integers(0, 2**32), st.integers(1, 200))
def test_delays_double_up_to_the_cap_with_half_of_it_jitter(seed: int, tries: int) -> None:
    backoff = Backoff(0.5, 30.0, Random(seed))
    for number in range(tries):
        full = min(30.0, 0.5 * 2.0 ** min(number, 10))
        assert full / 2 <= backoff.next() <= full
    backoff.reset()
    assert backoff.next() <= 0.5


@pytest.mark.parametrize(("first", "cap"), [(0, 1), (-1, 1), (2, 1)])
def test_senseless_bounds(first: float, cap: float) -> None:
    with pytest.raises(ValueError, match="expected 0 < first <= cap"):
        Backoff(first, cap, Random(1))
