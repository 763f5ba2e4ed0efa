from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.device.configdata import convert
from edged.errors import InvalidError


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    register: Literal["Coil", "Holding"]
    offset: Annotated[int, msgspec.Meta(ge=0, le=9)]
    is_swap: bool = False


def test_numbers_and_booleans_may_be_text() -> None:
    config = {"register": "Coil", "offset": "3", "isSwap": "true"}
    assert convert(config, Config) == Config("Coil", 3, is_swap=True)


@pytest.mark.parametrize(
    ("config", "causes"),
    [
        ({"offset": 1}, [("register", "is missing")]),
        ({"register": "Coil", "ofset": 1}, [("ofset", "is unknown; did you mean offset?"), ("offset", "is missing")]),
        ({"register": "Foo", "offset": 1}, [("register", "expected one of Coil, Holding, got 'Foo'")]),
        ({"register": "Coil", "offset": 12}, [("offset", "expected a whole number from 0 to 9, got 12")]),
        ({"register": "Coil", "offset": None}, [("offset", "expected a whole number from 0 to 9, got None")]),
        ({"register": "Coil", "offset": 1, "isSwap": []}, [("isSwap", "expected bool, got []")]),
        ({"register": "Coil", "offset": "x" * 99, "zzz": 1}, [("zzz", "is unknown; expected one of"), ("offset", "expected")]),
    ],
)
def test_every_mistake_names_its_field(config: dict[str, Any], causes: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidError) as caught:
        convert(config, Config)
    found = [(cause.field, cause.message) for cause in caught.value.causes]
    assert [field for field, _ in found] == [field for field, _ in causes]
    assert all(message.startswith(expected) for (_, message), (_, expected) in zip(found, causes, strict=True))
    assert all(len(message) < 160 for _, message in found)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["register", "offset", "isSwap", "is_swap", ""]), json_values))
def test_any_json_is_taken_or_refused(config: dict[str, Any]) -> None:
    try:
        assert isinstance(convert(config, Config), Config)
    except InvalidError as error:
        assert error.causes
