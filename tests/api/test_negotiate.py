from typing import Any

import pytest

from edged.api.negotiate import Form, form

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", Form("")),
        ("application/vnd.kubernetes.protobuf,application/json", Form("")),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Form("Table", "v1")),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Form("Table", "v1beta1")),
        ("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", Form("")),
        ("application/json; as=PartialObjectMetadata; g=meta.k8s.io; v=v1", Form("PartialObjectMetadata", "v1")),
        ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json", Form("")),
    ],
)
def test_forms(accept: str, expected: Any) -> None:
    assert form(accept) == expected


async def test_forms_that_cannot_be_given(served: Any, client: Any) -> None:
    before = served.store.revision
    for accept in ("text/html", "application/json;as=Table;v=v9;g=meta.k8s.io", "application/yaml"):
        reply = await client("POST", MAPS, {"metadata": {"name": "c"}}, {"accept": accept})
        assert (reply.status, reply.json["reason"]) == (406, "NotAcceptable")
    assert served.store.revision == before
