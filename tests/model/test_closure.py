import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.model.closure import AllowFrom, allow_from, is_exported, stays_in_group, wrong_words
from edged.model.core import Service

KEY = "edged.io/allow-from"


def service(**annotations: str) -> Service:
    names = {"export": "edged.io/export", "topology": "apps.kubeedge.io/service-topology"}
    metadata = {"name": "web", "annotations": {names[name]: value for name, value in annotations.items()}}
    return msgspec.convert({"apiVersion": "v1", "kind": "Service", "metadata": metadata}, Service)


def test_what_is_exported() -> None:
    assert is_exported(service(export="true"))
    assert not is_exported(service(export="yes"))
    assert not is_exported(service())
    assert not is_exported(service(export="true", topology="range-nodegroup"))
    assert stays_in_group(service(topology="range-nodegroup"))


def test_callers_by_namespace_and_node() -> None:
    assert allow_from({}) is None
    some = allow_from({KEY: "namespace:shop, node:gw-b,node:yard/gw-c"})
    assert some == AllowFrom(frozenset({"shop"}), frozenset({"gw-b", "yard/gw-c"}))
    assert some.passes("gw-x", "shop")
    assert some.passes("gw-b", "")
    assert not some.passes("gw-x", "")
    assert not some.passes("gw-c", "default")


@pytest.mark.parametrize("text", ["", "shop", "namespace:", "node:,", "everybody:all"])
def test_what_cannot_be_read_lets_nobody_in(text: str) -> None:
    some = allow_from({KEY: text})
    assert some is not None
    assert not some.passes("gw-a", "shop")
    assert not some.passes("", "")
    assert wrong_words({KEY: text}) or text == ""


@given(st.text(max_size=60))
def test_any_text_is_read(text: str) -> None:
    assert allow_from({KEY: text}) is not None
    wrong_words({KEY: text})
