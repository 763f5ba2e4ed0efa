from typing import Any

import pytest

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def maps(client: Any) -> None:
    for namespace in ("default", "other"):
        if namespace != "default":
            await client("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        for name, tier in (("a", "front"), ("b", "back")):
            body = {"metadata": {"name": name, "labels": {"tier": tier}}, "data": {"k": name}}
            assert (await client("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)).status == 201


async def names(client: Any, target: str) -> Any:
    reply = await client("GET", target)
    assert reply.status == 200, reply
    return [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in reply.json["items"]]


async def test_lists(served: Any, client: Any, maps: Any) -> None:
    assert await names(client, MAPS) == ["default/a", "default/b"]
    assert await names(client, "/api/v1/configmaps") == ["default/a", "default/b", "other/a", "other/b"]
    assert await names(client, f"{MAPS}?labelSelector=tier%3Dfront") == ["default/a"]
    assert await names(client, f"{MAPS}?labelSelector=tier%20in%20(back)") == ["default/b"]
    assert await names(client, "/api/v1/configmaps?fieldSelector=metadata.name%3Da") == ["default/a", "other/a"]
    assert await names(client, "/api/v1/configmaps?fieldSelector=metadata.name%3Da,metadata.namespace!=other") == ["default/a"]
    listed = (await client("GET", f"{MAPS}?limit=1")).json
    assert (listed["kind"], listed["apiVersion"], len(listed["items"])) == ("ConfigMapList", "v1", 2)
    assert listed["metadata"] == {"resourceVersion": str(served.store.revision)}
    empty = (await client("GET", "/api/v1/namespaces/nowhere/configmaps")).json
    assert empty["items"] == []


async def test_wrong_queries(served: Any, client: Any, maps: Any) -> None:
    for query in ("labelSelector=a%20b", "fieldSelector=a", "resourceVersion=x", "watch=1&timeoutSeconds=x"):
        reply = await client("GET", f"{MAPS}?{query}")
        assert (reply.status, reply.json["reason"]) == (400, "BadRequest"), query
    assert (await client("GET", f"{MAPS}?continue=abc")).status == 410
    ahead = await client("GET", f"{MAPS}?resourceVersion={served.store.revision + 1}")
    assert (ahead.status, ahead.json["reason"]) == (410, "Expired")
    assert (await client("GET", f"{MAPS}?resourceVersion={served.store.revision}")).status == 200


async def test_a_field_selector_names_a_field_of_the_kind(client: Any, maps: Any) -> None:
    for field in ("foo", "metadata.nme", "metadata.name.first", "spec.nodeName"):
        for method in ("GET", "DELETE"):
            reply = await client(method, f"{MAPS}?fieldSelector={field}%3Dx")
            assert (reply.status, reply.json["message"]) == (400, f"field label not supported: {field}")
    for field in ("metadata.name", "metadata.labels.app", "data.a"):
        reply = await client("GET", f"{MAPS}?fieldSelector={field}%3Dnothing")
        assert (reply.status, reply.json["items"]) == (200, [])


async def test_get(client: Any, maps: Any) -> None:
    assert (await client("GET", f"{MAPS}/a")).json["data"] == {"k": "a"}
    missing = await client("GET", f"{MAPS}/none")
    assert (missing.status, missing.json["message"]) == (404, 'configmaps "none" not found')
    assert missing.json["details"] == {"name": "none", "kind": "configmaps"}
