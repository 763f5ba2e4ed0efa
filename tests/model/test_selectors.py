import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import InvalidError
from edged.model.meta import LabelSelector, LabelSelectorRequirement
from edged.model.selectors import MAX_TERMS, of_labels, of_struct, parse_fields, parse_labels

LABELS = {"app": "web", "tier": "", "app.kubernetes.io/name": "x"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True), ("  ", True), ("app=web", True), ("app==web", True), (" app = web ", True), ("app=db", False),
        ("app!=web", False), ("app!=db", True), ("other!=db", True), ("app in (db, web)", True), ("app in (db)", False),
        ("app notin (db)", True), ("app notin (web,db)", False), ("other notin (web)", True), ("app", True), ("other", False),
        ("!app", False), ("!other", True), ("! other", True), ("app=web,!other,tier", True), ("app=web,other", False),
        ("tier=", True), ("tier in (,x)", True), ("app.kubernetes.io/name=x", True), ("in notin (in)", True), ("app=in", False),
        ("app in (web),tier=", True),
    ],
)  # fmt: skip
def test_labels(text: str, matches: bool) -> None:
    assert parse_labels(text).matches(LABELS) == matches


@pytest.mark.parametrize(
    "text",
    [
        "=",
        "a=b=c",
        "a b",
        "a in",
        "a in b",
        "a in (b",
        "a in (b c)",
        ",",
        "a,",
        "a,,b",
        "!",
        "!a=b",
        "a>1",
        "(a)",
        "a!b",
        "-a=b",
        "a=-b",
        "a/b/c",
    ],
)
def test_labels_that_cannot_be_read(text: str) -> None:
    with pytest.raises(InvalidError, match="unable to parse requirement"):
        parse_labels(text)


def test_too_many_requirements() -> None:
    with pytest.raises(InvalidError, match=f"more than {MAX_TERMS}"):
        parse_labels(",".join(["a"] * (MAX_TERMS + 1)))
    with pytest.raises(InvalidError, match=f"more than {MAX_TERMS}"):
        parse_fields(",".join(["a=b"] * (MAX_TERMS + 1)))


@given(st.text(alphabet="ab=!,() in\t\u00e4/.-", max_size=40))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    for parse in (parse_labels, parse_fields):
        try:
            parse(text).matches({"a": "b"})
        except InvalidError as error:
            assert "\n" not in str(error)


def test_a_struct() -> None:
    expressions = (
        LabelSelectorRequirement("app", "In", ("web", "db")),
        LabelSelectorRequirement("tier", "Exists"),
        LabelSelectorRequirement("other", "DoesNotExist"),
        LabelSelectorRequirement("app", "NotIn", ("db",)),
    )
    assert of_struct(LabelSelector({"app": "web"}, expressions)).matches(LABELS)
    assert not of_struct(LabelSelector({"app": "db"}, expressions)).matches(LABELS)
    assert of_struct(LabelSelector()).matches(LABELS)
    assert of_labels({"app": "web", "tier": ""}).matches(LABELS)
    assert not of_labels({"app": "db"}).matches(LABELS)


POD = {
    "metadata": {"name": "web-0", "namespace": "default"},
    "spec": {"nodeName": "gw-a", "hostNetwork": True, "containers": [{}]},
    "status": {"phase": "Running", "restarts": 0},
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True), ("metadata.name=web-0", True), ("metadata.name==web-0,metadata.namespace=default", True),
        ("metadata.name=web-1", False), ("status.phase!=Failed", True), ("status.phase!=Running", False),
        ("spec.nodeName=", False),
        ("spec.hostname=", True), ("spec.hostname!=", False), ("spec.hostNetwork=true", True), ("spec.hostPID=false", True),
        ("spec.containers.name=x", False), ("metadata.name.x=", True), ("status.restarts=0", True),
        (r"metadata.name=web\,0", False),
    ],
)  # fmt: skip
def test_fields(text: str, matches: bool) -> None:
    assert parse_fields(text).matches(POD) == matches


def test_escapes_in_field_values() -> None:
    assert parse_fields(r"a=x\,y,b=\=\\").matches({"a": "x,y", "b": "=\\"})


@pytest.mark.parametrize("text", ["a", "=b", "a=b=c", "a.=b", "a b=c", "a=b\\", "a[0]=b"])
def test_fields_that_cannot_be_read(text: str) -> None:
    with pytest.raises(InvalidError, match="invalid selector"):
        parse_fields(text)
