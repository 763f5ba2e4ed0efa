from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.model.values import MAX_TEXT, from_text, outside, to_text


@pytest.mark.parametrize(
    ("type_", "text", "value", "canonical"),
    [
        ("INT", "21", Decimal(21), "21"),
        ("INT", "-21.0", Decimal(-21), "-21"),
        ("FLOAT", "21.50", Decimal("21.5"), "21.5"),
        ("DOUBLE", "1e3", Decimal(1000), "1000"),
        ("DOUBLE", "1e30", Decimal(10**30), "1E+30"),
        ("FLOAT", "-0", Decimal(0), "0"),
        ("BOOLEAN", "True", True, "true"),
        ("BOOLEAN", "0", False, "false"),
        ("STRING", " as it is ", " as it is ", " as it is "),
        ("BYTES", "00FF", b"\x00\xff", "00ff"),
    ],
)
def test_text_becomes_a_value_and_a_value_text(type_: str, text: str, value: object, canonical: str) -> None:
    found = from_text(type_, text)
    assert (found, type(found)) == (value, type(value))
    assert to_text(found) == canonical


@pytest.mark.parametrize(
    ("type_", "text", "said"),
    [
        ("INT", "21.5", 'expected a whole number, got "21.5"'),
        ("INT", "warm", 'expected a number, got "warm"'),
        ("FLOAT", "nan", "expected a number between"),
        ("DOUBLE", "1e999999999", "expected a number between"),
        ("DOUBLE", "1e99999999999999999999", "expected a number"),
        ("BOOLEAN", "yes", 'expected true or false, got "yes"'),
        ("BYTES", "0", "expected bytes in hexadecimal digits"),
        ("STRING", "x" * (MAX_TEXT + 1), "513 characters, at most 512 are taken"),
        ("STREAM", "x", 'values of the type "STREAM"'),
    ],
)
def test_what_is_no_value_is_refused(type_: str, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_text(type_, text)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**60), max_value=10**60, places=12))
def test_numbers_survive_as_text(number: Decimal) -> None:
    assert from_text("DOUBLE", to_text(number)) == number


@given(st.sampled_from(["INT", "FLOAT", "BOOLEAN", "STRING", "BYTES", "STREAM", "?"]), st.text(max_size=40))
def test_any_text_is_a_value_or_refused(type_: str, text: str) -> None:
    try:
        to_text(from_text(type_, text))
    except ValueError as error:
        assert str(error)


def test_limits() -> None:
    assert outside(Decimal("4.9"), Decimal(5), None) == "under its minimum 5"
    assert outside(Decimal(31), Decimal(5), Decimal(30)) == "over its maximum 30"
    assert outside(Decimal(30), Decimal(5), Decimal(30)) == ""
    assert outside("text", Decimal(5), Decimal(30)) == ""


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=6))
def test_numbers_have_one_spelling(number: Decimal) -> None:
    text = to_text(number)
    assert Decimal(text) == number
    assert "E" not in text
    assert text == to_text(Decimal(text)) == to_text(number * Decimal("1.000"))
