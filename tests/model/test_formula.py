import ast
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.model.formula import Formula
from edged.model.values import Value

VALUES: dict[str, Value] = {"voltage": Decimal("230.5"), "current": Decimal(2), "on": True, "label": "x", "zero": Decimal(0)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("voltage * current", "461.0"),
        ("voltage * current / 1000", "0.461"),
        ("0.1 + 0.2", "0.3"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("2 ** 10", "1024"),
        ("2 ** -1", "0.5"),
        ("round(voltage / 3, 2)", "76.83"),
        ("round(2.5) + round(3.5)", "6"),
        ("max(voltage, current, 300)", "300"),
        ("abs(current - 5)", "3"),
        ("sqrt(current * 8)", "4"),
        ("1 if on else 2", "1"),
        ("current if voltage < 200 else current * 10", "20"),
        ("on + on", "2"),
        ("+current", "2"),
        ("  current  ", "2"),
    ],
)
def test_numbers(text: str, expected: str) -> None:
    assert Formula(text).value("DOUBLE", VALUES) == Decimal(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("voltage > 200 and current < 3", True),
        ("200 < voltage < 230", False),
        ("not on or current == 2", True),
        ("current != 2", False),
        ("current", True),
        ("zero", False),
    ],
)
def test_booleans(text: str, expected: bool) -> None:
    assert Formula(text).value("BOOLEAN", VALUES) is expected


def test_an_int_is_whole() -> None:
    assert Formula("voltage").value("INT", VALUES) == Decimal(230)


def test_it_knows_its_inputs() -> None:
    assert Formula("max(voltage, 2 * current) if on else 0").names == {"voltage", "current", "on"}
    assert Formula("a + b") == Formula("a + b")
    assert len({Formula("a + b"), Formula("a + b"), Formula("b + a")}) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no expression"),
        ("voltage *", "is no expression"),
        ("1 2", "is no expression at character 3"),
        ("voltage.real", "voltage.real is not taken at character 1"),
        ("1 + (lambda: 1)()", "there is no function"),
        ("__import__('os')", "there is no function __import__: expected abs, max, min, round, sqrt"),
        ("'a' * 9", "'a' is not taken"),
        ("voltage[0]", "is not taken"),
        ("[1, 2]", "is not taken"),
        ("voltage if on else 'x'", "'x' is not taken"),
        ("1 is 1", "is not taken"),
        ("1 in voltage", "is not taken"),
        ("5 & 3", "is not taken"),
        ("~5", "is not taken"),
        ("(x := 5)", "is not taken"),
        ("1j", "is not taken"),
        ("abs()", "abs takes 1 arguments, got 0"),
        ("round(1, 2, 3)", "round takes 1 to 2 arguments, got 3"),
        ("abs(x=1)", "abs takes 1 arguments, got 1"),
        ("max(*voltage)", "is not taken"),
        ("1 +" * 200 + " 1", "characters, at most 512"),
        ("1+" * 200 + "1", "at most 128 parts, 16 deep"),
        ("(" * 250 + "1" + ")" * 250, "expression"),
        ("-" * 300 + "1", "at most 128 parts, 16 deep"),
        ("a\0b", "is no expression"),
    ],
)
def test_what_is_no_expression(text: str, words: str) -> None:
    with pytest.raises(ValueError) as error:
        Formula(text)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("voltage / zero", "divides by zero"),
        ("voltage // zero", "divides by zero"),
        ("voltage % zero", "divides by zero"),
        ("humidity + 1", "humidity has no value"),
        ("label + 1", "label is no number"),
        ("9 ** 9 ** 9", "expected a whole exponent from -64 to 64"),
        ("2 ** 0.5", "expected a whole exponent"),
        ("((99999999 ** 60) ** 60)", "comes to no number"),
        ("sqrt(0 - current)", "comes to no number"),
        ("round(voltage, 99)", "expected 0 to 40 places"),
        ("zero ** -1", "divides by zero"),
        ("zero / zero", "no number"),
    ],
)
def test_what_comes_to_nothing(text: str, words: str) -> None:
    with pytest.raises(ValueError) as error:
        Formula(text).value("DOUBLE", VALUES)
    assert words in str(error.value)


def test_nothing_is_written_there() -> None:
    with pytest.raises(ValueError, match="5 cannot be written: it is computed from other properties"):
        Formula("a").nearest(Decimal(5))
    assert not Formula("a").writable


@given(st.text(alphabet="abon01.+-*/%()<>=! ,ifelsandr'\"[]{}:_\\\0\n", max_size=60))
def test_any_text_has_a_value_or_is_refused_in_words(text: str) -> None:
    try:
        found = Formula(text).value("DOUBLE", {"a": Decimal(3), "b": Decimal("0.5"), "on": True})
    except ValueError as error:
        assert str(error)
    else:
        assert isinstance(found, Decimal)


numbers = st.integers(-1000, 1000)


def expressions() -> Any:
    leaf = numbers.map(lambda n: f"({n})") | st.sampled_from(["a", "b"])

    def grow(inner: Any) -> Any:
        pair = st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "%"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        test = st.tuples(inner, st.sampled_from(["<", "<=", "==", "!="]), inner, inner, inner)
        return pair | test.map(lambda t: f"({t[3]} if {t[0]} {t[1]} {t[2]} else {t[4]})") | inner.map(lambda t: f"abs({t})")

    return st.recursive(leaf, grow, max_leaves=8)


@given(expressions(), numbers, numbers)
def test_whole_numbers_are_as_in_python(text: str, a: int, b: int) -> None:
    tree = compile(ast.parse(text, mode="eval"), "", "eval")
    try:
        expected = eval(tree, {"a": a, "b": b})  # noqa: S307  what Python says of an expression that this test made
    except ZeroDivisionError:
        with pytest.raises(ValueError, match=r"divides by zero|no number"):
            Formula(text).value("DOUBLE", {"a": Decimal(a), "b": Decimal(b)})
        return
    assert Formula(text).value("DOUBLE", {"a": Decimal(a), "b": Decimal(b)}) == expected
