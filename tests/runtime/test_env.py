import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import InvalidError
from edged.model.core import ConfigMap, EnvVar, EnvVarSource, KeySelector, ObjectFieldSelector, Pod, PodSpec, Secret
from edged.model.meta import ObjectMeta
from edged.runtime.env import Sources, environment, expand, pod_fields

VALUES = {"A": "1", "B": "$(A)", "EMPTY": ""}
POD = Pod(
    api_version="v1",
    kind="Pod",
    metadata=ObjectMeta(name="web", namespace="shop", uid="u1"),
    spec=PodSpec(node_name="gw-a"),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("x$(A)y$(A)", "x1y1"),
        ("$(B)", "$(A)"),  # one pass
        ("$(EMPTY)", ""),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$(A)", "$$(A)"),
        ("$$", "$"),
        ("$", "$"),
        ("$A ${A}", "$A ${A}"),
        ("$(A", "$(A"),
        ("$(A$(A)", "$(A$(A)"),  # up to the first closing bracket, as Kubernetes reads it
        ("$()", "$()"),
        ("a)$(A)", "a)1"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, VALUES) == expected


@given(st.text(alphabet="$)AB ", max_size=20))
def test_a_dollar_without_a_bracket(text: str) -> None:
    assert expand(text, {}) == text.replace("$$", "$")


def refer(name: str, **source: object) -> EnvVar:
    return EnvVar(name, value_from=EnvVarSource(**source))  # type: ignore[arg-type]


def config_map(name: str) -> ConfigMap | None:
    return ConfigMap(api_version="v1", kind="ConfigMap", data={"colour": "blue $(A)"}) if name == "settings" else None


def secret(name: str) -> Secret | None:
    data = {"password": "aHVudGVyMiAkKEEp", "image": "/w==", "odd": "a"}
    return Secret(api_version="v1", kind="Secret", data=data) if name == "db" else None


MAPS = Sources(config_map, secret)


FIELDS = pod_fields(POD, "127.64.0.9", "192.0.2.7")


def test_variables_see_those_before_them() -> None:
    variables = [EnvVar("LATE", "$(A)"), EnvVar("A", "1"), EnvVar("B", "$(A)2"), EnvVar("A", "$(A)3")]
    assert environment(variables, {}, MAPS) == {"LATE": "$(A)", "A": "13", "B": "12"}


def test_the_fields_of_a_pod() -> None:
    variables = [refer(path, field_ref=ObjectFieldSelector(path)) for path in FIELDS]
    assert environment(variables, FIELDS, MAPS) == {
        "metadata.name": "web",
        "metadata.namespace": "shop",
        "metadata.uid": "u1",
        "spec.nodeName": "gw-a",
        "status.podIP": "127.64.0.9",
        "status.hostIP": "192.0.2.7",
    }


def test_a_key_of_a_config_map_is_not_expanded() -> None:
    assert environment([refer("C", config_map_key_ref=KeySelector("colour", "settings"))], {}, MAPS) == {"C": "blue $(A)"}


def test_a_key_of_a_secret_is_decoded_and_not_expanded() -> None:
    assert environment([refer("P", secret_key_ref=KeySelector("password", "db"))], {}, MAPS) == {"P": "hunter2 $(A)"}


def test_an_optional_reference_may_lead_nowhere() -> None:
    variables = [
        refer("C", config_map_key_ref=KeySelector(key, name, optional=True)) for key, name in [("x", "settings"), ("x", "y")]
    ]
    variables += [refer("S", secret_key_ref=KeySelector("x", name, optional=True)) for name in ("db", "none")]
    assert environment(variables, {}, MAPS) == {}


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        (refer("C", config_map_key_ref=KeySelector("x", "none")), 'env C: configmap "none" not found'),
        (refer("C", config_map_key_ref=KeySelector("x", "settings")), "env C: couldn't find key x in ConfigMap settings"),
        (refer("C", secret_key_ref=KeySelector("x", "none")), 'env C: secret "none" not found'),
        (refer("C", secret_key_ref=KeySelector("x", "db")), "env C: couldn't find key x in Secret db"),
        (refer("C", secret_key_ref=KeySelector("image", "db")), "env C: key image of Secret db is no UTF-8 text"),
        (refer("C", secret_key_ref=KeySelector("odd", "db")), "env C: key odd of Secret db is no UTF-8 text"),
        (refer("C", field_ref=ObjectFieldSelector("spec.hostname")), "env C: fieldRef spec.hostname is not supported"),
        (refer("C"), "env C: valueFrom has no source that is supported"),
    ],
)
def test_what_cannot_be_resolved(variable: EnvVar, message: str) -> None:
    with pytest.raises(InvalidError) as raised:
        environment([variable], FIELDS, MAPS)
    assert str(raised.value).startswith(message)
    assert raised.value.causes[0].field == "env[C].valueFrom"


def test_an_address_that_is_not_known_yet() -> None:
    with pytest.raises(InvalidError, match=r"status\.podIP is not known before"):
        environment([refer("IP", field_ref=ObjectFieldSelector("status.podIP"))], pod_fields(POD, None, "192.0.2.7"), MAPS)
