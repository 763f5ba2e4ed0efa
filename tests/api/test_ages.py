import pytest

from edged.api.ages import age, duration

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
HOUR_AGO = "2023-11-14T21:13:20Z"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"), (10799, "179m"),
        (10800, "3h"), (11000, "3h3m"), (28800, "8h"), (172799, "47h"), (172800, "2d"), (180000, "2d2h"), (691200, "8d"),
        (63072000, "2y"), (63072000 + 86400 * 3, "2y3d"), (252288000, "8y"),
    ],
)  # fmt: skip
def test_ages(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_times_that_are_none() -> None:
    assert (age(None, NOW), age("", NOW), age("soon", NOW), age(HOUR_AGO, NOW)) == (
        "<unknown>",
        "<unknown>",
        "<unknown>",
        "60m",
    )
