import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.kit.bucket import Bucket


def test_a_burst_passes_and_then_the_rate() -> None:
    bucket = Bucket(8, 5)
    assert [bucket.take(1, 100.0) for _ in range(6)] == [True] * 5 + [False]
    assert not bucket.take(1, 100.0625)
    assert bucket.take(1, 100.125)
    assert not bucket.take(1, 100.125)
    assert not bucket.take(6, 1000.0)
    assert bucket.take(5, 1000.0)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(1, 1)
    assert bucket.take(1, 100.0)
    assert not bucket.take(1, 50.0)
    assert not bucket.take(1, 100.5)
    assert bucket.take(1, 101.0)


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 20)), max_size=50))
def test_no_more_passes_than_the_rate_and_one_burst(steps: list[tuple[float, float]]) -> None:
    bucket, now, passed = Bucket(10, 15), 7.0, 0.0
    for wait, amount in steps:
        now += wait
        if bucket.take(amount, now):
            passed += amount
        assert passed <= 15 + 10 * (now - 7.0) + 1e-6


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (1, 0), (-1, 1)])
def test_a_bucket_has_a_rate_and_a_size(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Bucket(rate, burst)
