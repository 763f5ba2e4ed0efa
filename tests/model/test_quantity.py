from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import InvalidError
from edged.model.quantity import LARGEST, canonical, ceil, millis, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"), ("100m", "0.1"), ("1", "1"), ("1.5Gi", 1536 * 2**20), ("512Mi", 2**29), ("1k", 1000), ("1E", 10**18),
        ("1e3", 1000), ("1E3", 1000), ("12e-1", "1.2"), (".5", "0.5"), ("5.", "5"), ("+1", "1"), ("-1", "-1"),
        ("1n", "1e-9"), ("0.1n", "1e-9"), ("-0.1n", "-1e-9"), ("1u", "1e-6"), ("1Ki", 1024), ("1Ei", 2**60),
        ("9223372036854775807", LARGEST), ("1e9999", LARGEST), ("-10E", -LARGEST), ("16Ei", LARGEST), ("1e-9999", "1e-9"),
        ("0e9999", 0),
    ],
)  # fmt: skip
def test_exact_values(text: str, value: str | int) -> None:
    assert parse(text) == Decimal(value)


# From Kubernetes' own table (quantity_test.go) where it has the case.
@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("0.5", "500m"), ("1000m", "1"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("1000Ki", "1000Ki"), ("1023", "1023"),
        ("1024", "1024"), ("1Ki", "1Ki"), ("0.5Ki", "512"), ("0.1Ki", "102400m"), ("1.1Ki", "1126400m"), ("1000", "1k"),
        ("1500", "1500"), ("1e3", "1e3"), ("1e4", "10e3"), ("15e2", "1500"), ("1E6", "1e6"), ("100000000", "100M"),
        ("0Gi", "0"), ("0m", "0"), ("-0.5", "-500m"), ("1e-9", "1e-9"), ("1.2", "1200m"),
        ("9223372036854775807", "9223372036854775807"),
        ("10E", "9223372036854775807"), ("1E", "1E"),
    ],
)  # fmt: skip
def test_canonical_form(text: str, written: str) -> None:
    assert canonical(text) == written


def test_whole_units_are_rounded_up() -> None:
    assert ceil("1.5") == 2
    assert ceil("1.5Gi") == 1536 * 2**20
    assert ceil("-1.5") == -2
    assert millis("0.5") == 500
    assert millis("1u") == 1
    assert millis("2") == 2000
    assert millis("9223372036854775807") == LARGEST * 1000


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1 Gi",
        "1gi",
        "GI",
        "1.1.1",
        "--1",
        "1K",
        "1e",
        "1e3Ki",
        "1mi",
        "NaN",
        "inf",
        "0x1",
        "1_0",
        "\uff11",
        "1" * 65,
        "e3",
    ],
)
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(InvalidError, match="regular expression"):
        parse(text)


QUANTITIES = st.from_regex(r"\A[+-]?[0-9]{1,12}(\.[0-9]{1,6})?(Ki|Mi|Gi|Ti|[numkMGT]?|e-?[0-9]{1,2})\Z")


@given(QUANTITIES)
def test_the_canonical_form_is_the_same_value_and_stays(text: str) -> None:
    written = canonical(text)
    assert parse(written) == parse(text)
    assert canonical(written) == written


@given(st.text(alphabet="0123456789.+-eEinumkKMGTP", max_size=70))
def test_anything_is_a_quantity_or_refused(text: str) -> None:
    try:
        parse(canonical(text))
    except InvalidError:
        pass
