from collections.abc import Callable
from typing import Any

import pytest

from edged.model.core import Secret
from edged.model.meta import ObjectMeta
from edged.model.rules.secrets import SECRET_MAX

JSON = dict[str, Any]
Wrong = Callable[[JSON], list[str]]
Changed = Callable[[JSON, JSON], list[str]]
PASSWORD = "aHVudGVyMg=="  # noqa: S105  hunter2
JSON_VALUE = "e30="  # {}


def secret(data: JSON | None = None, type_: str = "", **more: Any) -> JSON:
    value = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "default"}, **more}
    return {**value, "data": data or {}, **({"type": type_} if type_ else {})}


def test_good_secrets(wrong: Wrong) -> None:
    assert wrong(secret({"a.b": PASSWORD})) == []
    assert wrong(secret(type_="example.com/own")) == []
    assert wrong(secret({"tls.crt": "", "tls.key": ""}, "kubernetes.io/tls")) == []
    assert wrong(secret({".dockerconfigjson": JSON_VALUE}, "kubernetes.io/dockerconfigjson")) == []
    assert wrong(secret({"password": PASSWORD}, "kubernetes.io/basic-auth")) == []
    assert wrong(secret({"ssh-privatekey": PASSWORD}, "kubernetes.io/ssh-auth")) == []


@pytest.mark.parametrize(
    ("data", "type_", "says"),
    [
        ({"a/b": PASSWORD}, "", "data[a/b]: Invalid value"),
        ({"a": "A" * (SECRET_MAX // 3 * 4 + 8)}, "", f"data: Too long: may not be more than {SECRET_MAX} bytes"),
        ({"tls.crt": ""}, "kubernetes.io/tls", "data[tls.key]: Required value"),
        ({}, "kubernetes.io/dockercfg", "data[.dockercfg]: Required value"),
        ({".dockercfg": PASSWORD}, "kubernetes.io/dockercfg", "<secret contents redacted>"),
        ({"ssh-privatekey": ""}, "kubernetes.io/ssh-auth", "data[ssh-privatekey]: Required value"),
        ({}, "kubernetes.io/basic-auth", "data[username]: Required value"),
        ({}, "kubernetes.io/service-account-token", "metadata.annotations[kubernetes.io/service-account.name]: Required value"),
    ],
)
def test_wrong_secrets(data: JSON, type_: str, says: str, wrong: Wrong) -> None:
    found = wrong(secret(data, type_))
    assert says in found[0]
    assert not any("hunter2" in text or PASSWORD in text for text in found)


def test_what_stays(changed: Changed) -> None:
    old = secret({"a": PASSWORD})
    assert changed(secret({"a": ""}), old) == []
    assert "field is immutable" in changed(secret({"a": PASSWORD}, "example.com/own"), old)[0]
    fixed = secret({"a": PASSWORD}, immutable=True)
    assert changed(fixed, old) == []
    assert changed(fixed, fixed) == []
    assert [text.partition(":")[0] for text in changed(secret(), fixed)] == ["immutable", "data"]


def test_it_shows_nothing_of_what_it_holds() -> None:
    value = Secret("v1", "Secret", metadata=ObjectMeta(name="db", namespace="shop"), data={"a": PASSWORD})
    assert f"{value}{value!r}" == "Secret(shop/db)" * 2
