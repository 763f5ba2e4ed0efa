import pytest

from edged.model import names

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


@pytest.mark.parametrize("name", ["a", "0", "a-b", "web-7d4f", "x" * 63])
def test_labels(name: str) -> None:
    assert names.label(name) is None


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a_b", "a b", "ä", "a\n", "../x"])
def test_what_is_no_label(name: str) -> None:
    assert names.label(name) == LABEL


def test_long_names() -> None:
    assert names.label("x" * 64) == "must be no more than 63 characters"
    assert names.subdomain("x" * 254) == "must be no more than 253 characters"
    assert names.subdomain("x" * 253) is None
    assert names.port_name("x" * 16) == "must be no more than 15 characters"


@pytest.mark.parametrize(
    ("name", "good"), [("a.b-c.d", True), ("0", True), ("a..b", False), (".a", False), ("a.", False), ("A.b", False)]
)
def test_subdomains(name: str, good: bool) -> None:
    assert (names.subdomain(name) is None) == good


@pytest.mark.parametrize(("name", "good"), [("web", True), ("web-2", True), ("2web", False), ("web-", False), ("a.b", False)])
def test_service_names(name: str, good: bool) -> None:
    wrong = names.label_1035(name)
    assert (wrong is None) == good
    if wrong:
        assert wrong.startswith("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with")


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("app", None),
        ("app.kubernetes.io/name", None),
        ("A_b.c-1", None),
        ("", "name part must be non-empty"),
        ("a/", "name part must be non-empty"),
        ("/a", "prefix part must be non-empty"),
        ("a/b/c", "prefix part a lowercase RFC 1123 subdomain"),
        ("A/b", "prefix part a lowercase RFC 1123 subdomain"),
        ("x/" + "y" * 64, "name part must be no more than 63 characters"),
        ("-a", "name part must consist of alphanumeric characters, '-', '_' or '.'"),
        ("a b", "name part must consist of alphanumeric characters"),
    ],
)
def test_label_keys(key: str, wrong: str | None) -> None:
    found = names.qualified(key)
    assert found is None if wrong is None else found is not None and found.startswith(wrong)


@pytest.mark.parametrize(
    ("value", "good"), [("", True), ("a", True), ("A.b_c-1", True), ("-a", False), ("a b", False), ("x" * 64, False)]
)
def test_label_values(value: str, good: bool) -> None:
    assert (names.label_value(value) is None) == good


@pytest.mark.parametrize(
    ("name", "good"),
    [("PATH", True), ("my.env-name", True), ("1X", True), ("", False), ("A=B", False), ("A\n", False), ("Ä", False)],
)
def test_environment_variables(name: str, good: bool) -> None:
    assert (names.env_name(name) is None) == good


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("http", None),
        ("h2-c", None),
        ("80", "must contain at least one letter (a-z)"),
        ("a--b", "must not contain consecutive hyphens"),
        ("-a", "must not begin or end with a hyphen"),
        ("HTTP", "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
        ("", "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
    ],
)
def test_port_names(name: str, wrong: str | None) -> None:
    assert names.port_name(name) == wrong


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("key.name", None),
        ("KEY_NAME", None),
        (".hidden", None),
        (".", "must not be '.'"),
        ("..", "must not be '..'"),
        ("..x", "must not start with '..'"),
    ],
)
def test_config_keys(key: str, wrong: str | None) -> None:
    assert names.config_key(key) == wrong
    assert "a valid config key must consist of" in (names.config_key("a/b") or "")


def test_annotations_count_in_bytes() -> None:
    assert names.annotations_size({"ä": "ö", "a": ""}) == 5
