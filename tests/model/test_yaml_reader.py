import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import InvalidError
from edged.model.documents import parse, read
from edged.model.limits import MAX_BODY, MAX_DEPTH, MAX_NODES

YAML = "application/yaml"

MANIFEST = b"""\
# a comment
apiVersion: v1
kind: ConfigMap
metadata:
  name: web
  labels: {app: web, "tier": 'front'}
data:
  text: |
    two
    lines
  number: "1"
list:
- 1
-   - -2
"""


def test_a_manifest() -> None:
    assert parse(MANIFEST, YAML) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "web", "labels": {"app": "web", "tier": "front"}},
        "data": {"text": "two\nlines\n", "number": "1"},
        "list": [1, [-2]],
    }


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1), ("-1", -1), ("+1", 1), ("1_000", 1000), ("0644", 0o644), ("0o644", 0o644), ("0x1F", 31), ("0b101", 5),
        ("0", 0),
        ("08", 8.0), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1.", 1.0), ("-1.5e-3", -0.0015),
        ("true", True), ("Yes", True), ("on", True), ("y", True), ("FALSE", False), ("no", False), ("off", False),
        ("", None), ("~", None), ("null", None), ("NULL", None), ("nUll", "nUll"),
        ("12:30", "12:30"), ("2026-08-06", "2026-08-06"), ("1.2.3", "1.2.3"), ("0x", "0x"), ("1Gi", "1Gi"),
        ("'1'", "1"), ('"yes"', "yes"), ("!!str 1", "1"), ("! 1", "1"), ("!!int 5", 5), ("!!float 5", 5), ("!!bool yes", True),
        ("=", "="), ("9" * 41, "9" * 41),
    ],
)  # fmt: skip
def test_plain_scalars_are_read_as_kubernetes_reads_them(written: str, value: object) -> None:
    found = parse(f"a: {written}".encode(), YAML)["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"a: [1", "line 2, column 1"),
        (b"a: 1\n b: 2", "line 2, column 3"),
        (b"a: 1\nb: &x 2", "anchors and aliases are not allowed at line 2, column 4"),
        (b"a: *x", "anchors and aliases are not allowed at line 1, column 4"),
        (b"a: &x\n  b: *x", "anchors and aliases are not allowed"),
        (b"&a a: 1", "anchors and aliases are not allowed"),
        (b"a: 1\nb: 2\na: 3", 'key "a" already set in map at line 3, column 1'),
        (b"a: 1\n---\nb: 2", "only one document is expected, and there is another at line 2, column 1"),
        (b"a: !!python/object:os.system 1", "is not allowed at line 1, column 4"),
        (b"a: !!binary aGk=", "is not allowed"),
        (b"!x a: 1", "is not allowed"),
        (b"a: !!int x", "not a value of the tag !!int"),
        (b"a: .inf", ".inf is not a number of JSON at line 1, column 4"),
        (b"a: .NaN", "not a number of JSON"),
        (b"? [a]\n: 1", "a key must be a string"),
        (b"? {a: 1}\n: 1", "a key must be a string"),
        (b"a: \x07", "control characters are not allowed"),
        (b"a: \xff", "not UTF-8"),
        (b"%FOO\n---\na: 1", "line 1"),
        (b"\ta: 1", "line 1, column 1"),
        (b"", "must be an object, and is of type null"),
        (b"# nothing", "must be an object"),
        (b"- a", "must be an object, and is of type array"),
    ],
)
def test_what_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(data, YAML)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_depth() -> None:
    deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert read(deep, YAML)
    for too_deep in (b"[" + deep + b"]", b"[" * MAX_BODY, b"- " * (MAX_BODY // 2), b"{a: " * (MAX_BODY // 4)):
        with pytest.raises(InvalidError, match=f"deeper than {MAX_DEPTH} levels"):
            read(too_deep, YAML)


@pytest.mark.parametrize(
    "data", [b"- a\n" * (MAX_BODY // 4), b"[" + b"a," * (MAX_BODY // 2 - 1) + b"]", b"a: [{},\n" + b"{}," * 900_000]
)
def test_too_many_values(data: bytes) -> None:
    with pytest.raises(InvalidError, match=f"more than {MAX_NODES} values at line"):
        read(data, YAML)


def test_keys_are_the_text_that_is_written() -> None:
    assert parse(b"1: a\nyes: b\n'2': c\n<<: {d: e}", YAML) == {"1": "a", "yes": "b", "2": "c", "<<": {"d": "e"}}


TEXTS = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufeff\ufffe\uffff"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(TEXTS, below, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_json_is_yaml(value: dict[str, object]) -> None:
    assert read(json.dumps(value, ensure_ascii=False).encode(), YAML) == value


@given(st.dictionaries(st.from_regex(r"\A[a-z]{1,6}\Z"), VALUES, max_size=4), st.booleans())
def test_what_pyyaml_writes_is_read(value: dict[str, object], flow: bool) -> None:
    written = yaml.safe_dump(json.loads(json.dumps(value)), default_flow_style=flow, allow_unicode=True, default_style='"')
    assert read(written.encode(), YAML) == value


@given(st.text(alphabet="ab:-[]{}!&*?|>'\"%#,\n \t01.~", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        json.dumps(read(text.encode(), YAML), allow_nan=False)
    except InvalidError as error:
        assert "\n" not in str(error)
