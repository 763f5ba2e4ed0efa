import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import InvalidError
from edged.model.times import compact_time, format_micro, format_time, parse_time

MOMENT = 1_786_017_600  # 2026-08-06T12:00:00Z


def test_both_forms() -> None:
    assert format_time(MOMENT + 0.999) == "2026-08-06T12:00:00Z"
    assert format_micro(MOMENT + 0.25) == "2026-08-06T12:00:00.250000Z"
    assert compact_time(MOMENT + 0.999) == "20260806T120000Z"
    assert format_time(0) == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-08-06T12:00:00Z", MOMENT),
        ("2026-08-06t12:00:00z", MOMENT),
        ("2026-08-06T14:00:00+02:00", MOMENT),
        ("2026-08-06T06:30:00-05:30", MOMENT),
        ("2026-08-06T12:00:00.5Z", MOMENT + 0.5),
        ("2026-08-06T12:00:00.000001999Z", MOMENT + 0.000001),
    ],
)
def test_parse(text: str, seconds: float) -> None:
    assert parse_time(text) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-08-06", "2026-08-06T12:00:00", "2026-13-06T12:00:00Z", "2026-02-30T12:00:00Z", "2026-08-06T25:00:00Z",
     "2026-08-06T12:00:00+99:99", "\uff12026-08-06T12:00:00Z", "2026-08-06T12:00:00Z\n", "0000-01-01T00:00:00Z", "x" * 100_000],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_time(text)
    assert len(str(caught.value)) < 200


@given(st.integers(0, 4_000_000_000))
def test_there_and_back(seconds: int) -> None:
    assert parse_time(format_time(seconds)) == seconds
