import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import InvalidError
from edged.model.documents import parse, read
from edged.model.limits import MAX_BODY, MAX_DEPTH, MAX_NODES

JSON = "application/json"


def refused(data: bytes, content_type: str = JSON) -> str:
    with pytest.raises(InvalidError) as caught:
        parse(data, content_type)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return str(caught.value)


def test_an_object() -> None:
    value = parse(b'{"a": [1, -2, 1.5, true, null, "\\ud83d\\ude00 \xc3\xa4 \\" \\\\"]}', JSON)
    assert value == {"a": [1, -2, 1.5, True, None, '😀 ä " \\']}
    assert type(value["a"][0]) is int


def test_large_integers_stay_integers() -> None:
    assert parse(b'{"a": 9223372036854775808}', JSON) == {"a": 2**63}


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "", "application/merge-patch+json"])
def test_json_by_other_names(content_type: str) -> None:
    assert parse(b' {"a": "yes"}', content_type) == {"a": "yes"}


def test_a_list_is_read_but_is_no_object() -> None:
    assert read(b"[1]", JSON) == [1]
    assert refused(b"[1]") == "the body must be an object, and is of type array"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": 1,\n  "b" 2}', "line 2, column 7"),
        (b'{"a": 1} x', "Extra data at line 1, column 10"),
        (b'{"a": 1}{"b": 2}', "Extra data"),
        (b"{'a': 1}", "line 1, column 2"),
        (b'{"a": NaN}', "NaN is not a number of JSON"),
        (b'{"a": -Infinity}', "-Infinity is not a number of JSON"),
        (b'{"a": 1e999}', "1e999 is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "invalid JSON: a number has more digits than are read"),
        (b'{"a": {"b": 1, "c": 2, "b": 3}}', 'duplicate field "b"'),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\uDFFF": 1}', "surrogate"),
        (b'{"a":\n"\xff"}', "not UTF-8: invalid start byte at byte 7, line 2"),
        (b'\xef\xbb\xbf{"a": 1}', "BOM"),
        (b'{"a": "\n"}', "Invalid control character"),
        (b'{"a', "Unterminated string"),
    ],
)
def test_what_is_no_json(data: bytes, says: str) -> None:
    assert says in refused(data)


def test_depth_is_counted_outside_of_strings() -> None:
    brackets = json.dumps({"a": "[{" * 1000 + '\\"[' * 1000 + "\\"})
    assert parse(brackets.encode(), JSON) == json.loads(brackets)
    deep = b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH
    assert parse(deep, JSON)
    assert f"deeper than {MAX_DEPTH}" in refused(b'{"a":' + deep + b"}")
    assert f"deeper than {MAX_DEPTH}" in refused(b'{"a": [1, ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"]}")


# Each is refused by counting bytes, before a value is built: the time does not depend on what it would have held.
@pytest.mark.parametrize(
    "data",
    [
        b"[" * (MAX_BODY - 1),
        b'{"a":' * (MAX_BODY // 5),
        b"[" + b"[]," * (MAX_BODY // 3 - 1) + b"1]",
        b"[" + b"0," * (MAX_BODY // 2 - 2) + b"0]",
        b"[" + b'"",' * (MAX_BODY // 3 - 1) + b"0]",
        b"[{" * (MAX_BODY // 2),
    ],
)
def test_too_many_values(data: bytes) -> None:
    assert refused(data) == f"the body holds more than {MAX_NODES} values"


def test_too_many_bytes() -> None:
    assert parse(b'{"a": "' + b"x" * (MAX_BODY - 20) + b'"}', JSON)
    assert refused(b" " * (MAX_BODY + 1)) == f"the body is larger than {MAX_BODY} bytes"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=6), below, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=4))
def test_what_json_writes_is_read(value: dict[str, object]) -> None:
    assert parse(json.dumps(value).encode(), JSON) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode(), JSON) == value


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=4), st.data())
def test_broken_json_is_read_or_refused(value: dict[str, object], data: st.DataObject) -> None:
    good = json.dumps(value).encode()
    at = data.draw(st.integers(0, len(good)))
    broken = good[:at] + data.draw(st.binary(max_size=4)) + good[at + data.draw(st.integers(0, 4)) :]
    for content_type in (JSON, "application/yaml"):
        try:
            read(broken, content_type)
        except InvalidError as error:
            assert "\n" not in str(error)


@given(st.binary(max_size=64), st.sampled_from([JSON, "application/yaml"]))
def test_any_bytes_are_read_or_refused(data: bytes, content_type: str) -> None:
    try:
        read(data, content_type)
    except InvalidError:
        pass
