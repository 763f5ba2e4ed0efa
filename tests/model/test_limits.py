import pytest

from edged.model.limits import MAX_DEPTH, MAX_NODES, measure


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, (1, 0)),
        ({}, (1, 1)),
        ([], (1, 1)),
        ({"a": 1}, (2, 1)),
        ({"a": [1, 2], "b": {"c": {}}}, (6, 3)),
    ],
)
def test_values_and_depth(value: object, expected: tuple[int, int]) -> None:
    assert measure(value) == expected


def test_it_stops_just_past_a_limit() -> None:
    deep: list[object] = []
    deep.append(deep)
    assert measure(deep)[1] == MAX_DEPTH + 1
    assert measure([0] * (MAX_NODES + 7))[0] > MAX_NODES
