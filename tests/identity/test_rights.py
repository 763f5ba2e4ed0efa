import json
from typing import Any

import pytest

from edged.identity.certificates import Subject
from edged.identity.rights import NOT_YET, YES, may_write
from edged.wire.sync import BODY, STATUS, Register

FULL = Subject("acme", "node", "site", "gw-a")
LIMITED = FULL._replace(limited=True)


def register(resource: str, part: str, value: Any = None, *, name: str = "x", origin: str = "site/gw-a:1") -> Register:
    data = None if value is None else json.dumps(value).encode()
    return Register(resource, "default", name, part, "u", origin, 1, 1, data)


@pytest.mark.parametrize(
    ("origin", "resource", "verdict"),
    [
        ("site/gw-a:1", "pods", YES),
        ("site/gw-a:1~7", "pods", YES),
        ("*/site/gw-a:1", "devicemodels.devices.kubeedge.io", YES),
        ("*/site/gw-a:1", "widgets.example.com", YES),
        ("*/yard/gw-a:1", "widgets.example.com", "signed a register of */yard/gw-a:1"),
        ("*/gw-a:1", "widgets.example.com", "signed a register of */gw-a:1"),
        ("site/gw-b:1", "pods", "signed a register of site/gw-b:1"),
        ("other/gw-a:1", "pods", "signed a register of other/gw-a:1"),
        ("gw-a:1", "pods", "signed a register of gw-a:1"),
        ("*/site/gw-a:1", "pods", "pods of the fleet"),
        ("site/gw-a:1", "devicemodels.devices.kubeedge.io", "of the group"),
    ],
)
def test_a_node_writes_under_its_own_name_in_its_own_scopes(origin: str, resource: str, verdict: str) -> None:
    assert verdict in may_write(FULL, register(resource, BODY, {}, origin=origin), None)


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("web.site", {}, YES),
        ("web.other", {}, "the import of a service of group other"),
        ("web", {}, "the import of a service of group web"),
        ("web.other", None, YES),
    ],
)
def test_a_service_is_exported_by_its_group_alone_and_its_import_ended_by_anybody(name: str, value: Any, verdict: str) -> None:
    resource = "serviceimports.multicluster.x-k8s.io"
    for part in (BODY, STATUS):
        assert verdict in may_write(FULL, register(resource, part, value, name=name, origin="*/site/gw-a:1"), None)
    written = register(resource, BODY, {}, name="web.site", origin="*/site/gw-a:1")
    assert "may not write" in may_write(LIMITED, written, None)


POD = register("pods", BODY, {"spec": {"nodeName": "gw-a"}})
OTHERS = register("pods", BODY, {"spec": {"nodeName": "gw-b"}})
UNBOUND = register("pods", BODY, {"spec": {}})
GONE = register("pods", BODY)


@pytest.mark.parametrize(
    ("written", "body", "verdict"),
    [
        (register("nodes", STATUS, {}, name="gw-a"), None, YES),
        (register("nodes", BODY, {}, name="gw-b"), None, "may not write the body of nodes"),
        (register("pods", STATUS, {}), POD, YES),
        (register("pods", STATUS, {}), OTHERS, "may not write the status of pods"),
        (register("pods", STATUS, {}), UNBOUND, NOT_YET),
        (register("pods", STATUS, {}), None, NOT_YET),
        (register("pods", STATUS, {}), GONE, YES),
        (register("pods", BODY), POD, YES),
        (register("pods", BODY), OTHERS, "may not write the body of pods"),
        (register("pods", BODY, {"spec": {"nodeName": "gw-a"}}), POD, "may not write the body of pods"),
        (register("devices.devices.kubeedge.io", STATUS, {}), POD, YES),
        (register("devices.devices.kubeedge.io", BODY), POD, "may not write the body"),
        (register("events", BODY, {"reportingInstance": "gw-a"}), None, YES),
        (register("events", BODY, {"reportingInstance": "gw-b"}), None, "may not write"),
        (register("events", BODY), register("events", BODY, {"reportingInstance": "gw-b"}), "may not write"),
        (register("events", BODY), register("events", BODY, {"reportingInstance": "gw-a"}), YES),
        (register("deployments.apps", BODY, {}), None, "may not write"),
        (register("widgets.example.com", BODY, {}), None, "may not write"),
    ],
)
def test_a_limited_node_writes_for_itself_alone(written: Register, body: Register | None, verdict: str) -> None:
    assert verdict in may_write(LIMITED, written, body)
    assert may_write(FULL, written, body) == YES


@pytest.mark.parametrize("body", [b"no JSON", b"[" * 100_000, b"[]", b'{"spec":[]}'])
def test_a_limited_node_may_not_write_about_what_cannot_be_read(body: bytes) -> None:
    there = Register("pods", "default", "x", BODY, "u", "site/gw-b:1", 1, 1, body)
    assert may_write(LIMITED, register("pods", STATUS, {}), there) != YES
    said = Register("events", "default", "x", BODY, "u", "site/gw-a:1", 1, 1, body)
    assert may_write(LIMITED, said, None) != YES
