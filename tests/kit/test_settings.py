import math
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from edged.kit.settings import MAX_FILE, ConfigError, Source, from_environment, read_toml, settle


def even(value: int) -> None:
    if value % 2:
        raise ValueError(f"expected an even number, got {value}")


class Room(msgspec.Struct, frozen=True):
    size: Annotated[int, Meta(ge=0, le=100, extra={"check": even})] = 0
    kind: Literal["small", "large"] = "small"
    tags: tuple[str, ...] = ()
    lit: bool | None = None
    warmth: Annotated[float, Meta(ge=-40, le=40.5)] = 20.0
    light: Annotated[float, Meta(ge=0)] = 0.5
    doors: dict[str, list[int]] = {}


class House(msgspec.Struct, frozen=True):
    name: str = "house"
    room: Room = Room()


def test_a_later_source_wins_and_tables_are_merged() -> None:
    first = Source("one", {"name": "a", "room": {"size": 2, "doors": {"n": [1], "s": [2]}}})
    second = Source("two", {"room": {"doors": {"s": []}, "tags": ["x"]}})
    assert settle(House, [first, second]) == House("a", Room(size=2, doors={"n": [1], "s": []}, tags=("x",)))
    assert settle(House, []) == House()


def test_a_whole_number_is_a_number_too() -> None:
    assert settle(House, [Source("f", {"room": {"warmth": -3}})]).room.warmth == -3.0
    assert settle(House, from_environment(House, "H_", {"H_ROOM__WARMTH": "1.5"})).room.warmth == 1.5


def test_variables_follow_the_types_of_their_keys() -> None:
    environ = {"H_NAME": "5", "H_ROOM__SIZE": "4", "H_ROOM__TAGS": "a, b,", "H_ROOM__LIT": "true", "H_ROOM__DOORS": "{n = [1]}"}
    assert settle(House, from_environment(House, "H_", environ)) == House(
        "5", Room(size=4, tags=("a", "b"), lit=True, doors={"n": [1]})
    )
    assert settle(House, from_environment(House, "H_", {"H_ROOM__TAGS": '["a,b"]'})).room.tags == ("a,b",)


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({"nam": "x"}, "f: nam: unknown key, expected one of name, room; did you mean name?"),
        ({"room": []}, "f: room: expected a table, got []"),
        ({"room": {"size": 3}}, "f: room.size: expected an even number, got 3"),
        ({"room": {"size": 102}}, "f: room.size: expected a whole number from 0 to 100, got 102"),
        ({"room": {"size": True}}, "f: room.size: expected a whole number, got true"),
        ({"room": {"size": 1.0}}, "f: room.size: expected a whole number, got 1.0"),
        ({"room": {"warmth": "x"}}, "f: room.warmth: expected a number, got 'x'"),
        ({"room": {"warmth": True}}, "f: room.warmth: expected a number, got true"),
        ({"room": {"warmth": 40.6}}, "f: room.warmth: expected a number from -40 to 40.5, got 40.6"),
        ({"room": {"warmth": -41}}, "f: room.warmth: expected a number from -40 to 40.5, got -41"),
        ({"room": {"light": -0.1}}, "f: room.light: expected a number from 0 to "),
        ({"room": {"light": math.nan}}, "f: room.light: expected a number from 0 to "),
        ({"room": {"light": math.inf}}, "f: room.light: expected a number from "),
        ({"room": {"light": 10**400}}, "f: room.light: expected a number from "),
        ({"room": {"kind": []}}, "f: room.kind: expected one of large, small, got []"),
        ({"room": {"kind": "smal"}}, "f: room.kind: expected one of large, small, got 'smal'; did you mean small?"),
        ({"room": {"doors": {"n": ["x"]}}}, "f: room.doors.n[0]: expected a whole number, got 'x'"),
        ({"name": "x" * 3, "room": {"tags": "y" * 100}}, "f: room.tags: expected a list, got 'yyy"),
    ],
)
def test_a_mistake_names_source_path_and_what_was_expected(tables: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        settle(House, [Source("fine", {}), Source("f", tables)])
    assert str(error.value).startswith(expected)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"#" * (MAX_FILE + 1))
    with pytest.raises(ConfigError, match="at most"):
        read_toml(tmp_path / "x.toml")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.dictionaries(
        st.sampled_from(["name", "room", "x"]), JSON | st.dictionaries(st.sampled_from(Room.__struct_fields__), JSON)
    )
)
def test_whatever_the_tables_settings_or_a_config_error_come_out(tables: dict[str, object]) -> None:
    try:
        house = settle(House, [Source("f", tables)])
    except ConfigError as error:
        assert str(error).startswith("f: ")
    else:
        assert isinstance(house.name, str)
        assert not math.isnan(house.room.size)
