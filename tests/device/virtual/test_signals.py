from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.device.mapper import PropertyError
from edged.device.virtual.signals import Generator, column, signal
from edged.errors import InvalidError


def said(count: int, type_: str = "DOUBLE", rows: Any = (), **config: Any) -> list[str]:
    generator = Generator(signal(type_, config), rows)
    return [str(generator.next(float(now))) for now in range(count)]


def test_counters_count_reads() -> None:
    assert said(4, "INT", kind="counter") == ["0", "1", "2", "3"]
    assert said(4, "INT", kind="counter", start=5, step=2, wrap=8) == ["5", "7", "5", "7"]
    assert said(4, "INT", kind="counter", start=1, step="-1", wrap=0) == ["1", "0", "1", "0"]
    assert said(2, kind="counter", step=0.1) == ["0E-9", "0.100000000"]


def test_a_sine_has_its_period() -> None:
    assert said(5, kind="sine", amplitude=10, mean=20, period=4, decimals=1) == ["20.0", "30.0", "20.0", "10.0", "20.0"]
    assert said(2, kind="sine", period=4, phase=1, decimals=0) == ["1", "0"]
    assert said(1, "INT", kind="sine", mean=20.4, decimals=3) == ["20"]


def test_a_walk_is_the_same_for_its_seed_and_stays_within_its_limits() -> None:
    walk = {"kind": "randomWalk", "start": 5, "step": 3, "minimum": 4, "maximum": 6}
    assert said(50, **walk, seed=1) == said(50, **walk, seed=1) != said(50, **walk, seed=2)
    assert all(Decimal(4) <= Decimal(each) <= Decimal(6) for each in said(200, **walk))


def test_a_constant_takes_what_is_written() -> None:
    point = signal("BOOLEAN", {"kind": "constant", "value": "false"})
    generator = Generator(point)
    assert point.writable
    assert generator.next(0) is False
    generator.hold(True)
    assert generator.next(1) is True
    assert not signal("INT", {"kind": "counter"}).writable


def test_a_replay_begins_again() -> None:
    assert said(3, "INT", rows=["1", "2"], kind="replay", file="day.csv", column="x") == ["1", "2", "1"]
    generator = Generator(signal("INT", {"kind": "replay", "file": "day.csv", "column": "x"}), ["x", "2"])
    with pytest.raises(PropertyError, match="holds no INT in this row: expected a number"):
        generator.next(0)
    assert generator.next(1) == 2


def test_columns() -> None:
    data = b'\xef\xbb\xbftime,"flow, l/s"\r\n1,"2\n3"\r\n2\r\n'
    assert column(data, "flow, l/s") == ["2\n3", ""]
    for wrong, words in ((b"", "has no rows"), (b"a,b\n1,2", 'no column "c", only a, b'), (b"a\n\xff", "is no CSV file")):
        with pytest.raises(PropertyError, match=words):
            column(wrong, "c")


@given(st.binary(max_size=60), st.text(max_size=3))
def test_any_bytes_as_a_file(data: bytes, name: str) -> None:
    try:
        assert column(data, name)
    except PropertyError:
        pass


@pytest.mark.parametrize(
    ("type_", "config", "words"),
    [
        ("INT", {}, "kind: is missing"),
        ("INT", {"kind": "square"}, "kind: expected one of constant, counter"),
        ("STRING", {"kind": "sine"}, "kind: a sine is a number"),
        ("STREAM", {"kind": "constant"}, "kind: there is no virtual STREAM"),
        ("INT", {"kind": "constant", "value": "warm"}, 'value: expected a number, got "warm"'),
        ("INT", {"kind": "counter", "amplitude": 2}, "amplitude: a counter has no amplitude"),
        ("INT", {"kind": "sine", "period": 0}, "period: expected `?float"),
        ("INT", {"kind": "randomWalk", "minimum": 2, "maximum": 1}, "minimum: expected at most the maximum 1, got 2"),
        ("INT", {"kind": "replay"}, "file: is missing"),
        ("INT", {"kind": "replay", "file": "../secret"}, "file: "),
        ("INT", {"kind": "replay", "file": ".."}, "file: "),
    ],
)
def test_mistakes(type_: str, config: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        signal(type_, config)
