from typing import Any

import pytest

MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
PARTIAL = {"accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}


@pytest.fixture
async def maps(client: Any) -> None:
    for name in ("a", "b"):
        assert (await client("POST", MAPS, {"metadata": {"name": name}, "data": {"k": name}})).status == 201


async def test_tables(served: Any, client: Any, maps: Any) -> None:
    table = (await client("GET", MAPS, headers=TABLE)).json
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert [row["cells"][:2] for row in table["rows"]] == [["a", 1], ["b", 1]]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert table["rows"][0]["object"]["metadata"]["namespace"] == "default"
    one = (await client("GET", f"{MAPS}/a?includeObject=Object", headers=TABLE)).json
    assert one["rows"][0]["object"]["data"] == {"k": "a"}
    none = (await client("GET", f"{MAPS}/a?includeObject=None", headers=TABLE)).json
    assert "object" not in none["rows"][0]


async def test_metadata_only(client: Any, maps: Any) -> None:
    listed = (await client("GET", MAPS, headers=PARTIAL)).json
    assert (listed["kind"], listed["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert [set(item) for item in listed["items"]] == [{"kind", "apiVersion", "metadata"}] * 2
