import pytest

from edged.api.exchange import Request, flag, number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("00042", 42),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
        ("-1", None),
        ("1e3", None),
        ("", None),
        ("\u0663", None),
        (7, None),
    ],
)
def test_numbers(text: object, value: int | None) -> None:
    assert number(text) == value


def test_flags() -> None:
    query = {"a": "true", "b": "1", "c": "false", "d": "", "e": "True"}
    assert [flag(query, name) for name in "abcdef"] == [True, True, False, False, True, False]


def test_what_a_request_says_of_its_forms() -> None:
    request = Request("GET", "/", {}, {"content-type": "Application/YAML; charset=utf-8", "accept": ""}, b"", None)
    assert (request.content_type, request.accept) == ("application/yaml", "*/*")
    assert request._replace(headers={}).content_type == "application/json"
