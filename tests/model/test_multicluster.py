from typing import Any

import msgspec
import pytest

from edged.model import schema
from edged.model.kinds import BY_STRUCT
from edged.model.multicluster import ServiceImport, group_of, import_name
from edged.model.names import subdomain
from edged.model.objects import dump

IMPORT: dict[str, Any] = {
    "apiVersion": "multicluster.x-k8s.io/v1alpha1",
    "kind": "ServiceImport",
    "metadata": {"name": "web.site-1", "namespace": "default"},
    "spec": {"type": "ClusterSetIP", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    "status": {
        "clusters": [{"cluster": "site-1"}],
        "endpoints": [{"node": "gw-a", "pod": "web-0", "ready": True, "ports": [{"port": 80, "targetPort": 8080}]}],
    },
}


def test_an_import_comes_back_as_it_was() -> None:
    checked = schema.check(IMPORT, BY_STRUCT[ServiceImport])
    assert checked[:3] == ([], [], [])
    parsed = msgspec.convert(IMPORT, ServiceImport)
    assert parsed.status.endpoints[0].ports[0].target_port == 8080
    assert msgspec.json.decode(dump(parsed.spec)) == IMPORT["spec"]
    assert msgspec.json.decode(dump(parsed.status)) == IMPORT["status"]


@pytest.mark.parametrize(("service", "group"), [("web", "site-1"), ("w" * 63, "g" * 63)])
def test_its_name_says_whose_it_is(service: str, group: str) -> None:
    name = import_name(service, group)
    assert subdomain(name) is None
    assert group_of(name) == group
