from typing import Any

import pytest

from edged.model.objects import Key, dump
from edged.store.writes import Create, Delete

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


async def pod(client: Any, name: str = "p", **spec: Any) -> Any:
    body = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}
    reply = await client("POST", PODS, body)
    assert reply.status == 201
    return reply.json


async def test_an_object_goes_at_once(served: Any, client: Any) -> None:
    made = (await client("POST", MAPS, {"metadata": {"name": "a"}})).json
    reply = await client("DELETE", f"{MAPS}/a")
    assert (reply.status, reply.json["status"]) == (200, "Success")
    assert reply.json["details"] == {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    assert served.store.get(Key("configmaps", "default", "a")) is None
    assert (await client("DELETE", f"{MAPS}/a")).status == 404


async def test_what_a_deployment_made_is_left_to_its_controller_or_made_free(served: Any, client: Any) -> None:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    web = {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": labels}, "template": template}}
    owner = (await client("POST", DEPLOYMENTS, web)).json["metadata"]["uid"]
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": owner, "controller": True}
    spec = {"containers": [{"name": "c", "image": "i"}]}
    owned = {"metadata": {"name": "web-0", "ownerReferences": [reference]}, "spec": spec}
    await client("POST", PODS, owned)
    await pod(client, "other")
    refused = await client("DELETE", f"{DEPLOYMENTS}/web", {"propagationPolicy": "Foreground"})
    assert (refused.status, "Foreground" in refused.json["message"]) == (422, True)
    assert (await client("DELETE", f"{DEPLOYMENTS}/web", {"propagationPolicy": "Orphan"})).status == 200
    assert not (await client("GET", f"{PODS}/web-0")).json["metadata"].get("ownerReferences")
    await client("POST", DEPLOYMENTS, web)
    assert (await client("DELETE", f"{DEPLOYMENTS}/web?propagationPolicy=Background")).status == 200
    assert (await client("GET", f"{PODS}/web-0")).status == 200


async def test_a_collection(served: Any, client: Any) -> None:
    for name, tier in (("a", "x"), ("b", "y"), ("c", "x")):
        await client("POST", MAPS, {"metadata": {"name": name, "labels": {"tier": tier}}})
    reply = await client("DELETE", f"{MAPS}?labelSelector=tier%3Dx")
    assert [item["metadata"]["name"] for item in reply.json["items"]] == ["a", "c"]
    assert [obj.key.name for obj in served.store.list("configmaps")] == ["b"]
    assert (await client("DELETE", "/api/v1/configmaps")).status == 405


async def test_a_namespace_goes_and_what_is_the_fleets_in_it_stays(served: Any, client: Any) -> None:
    await client("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
    models = "/apis/devices.kubeedge.io/v1beta1/namespaces/n/devicemodels"
    assert (await client("POST", models, {"metadata": {"name": "thermometer"}})).status == 201
    assert (await client("DELETE", "/api/v1/namespaces/n")).status == 200
    assert (await client("GET", f"{models}/thermometer")).status == 200


async def test_an_import_is_read_and_deleted_and_not_written(served: Any, client: Any) -> None:
    imports = "/apis/multicluster.x-k8s.io/v1alpha1/namespaces/default/serviceimports"
    body = {"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport", "metadata": {"name": "web.site-1"}}
    key = Key("serviceimports.multicluster.x-k8s.io", "default", "web.site-1")
    await served.store.write(Create(key, "u", dump({**body, "spec": {"type": "ClusterSetIP", "ports": []}}), b"{}"))
    for method, path in (("POST", imports), ("PUT", f"{imports}/web.site-1"), ("PATCH", f"{imports}/web.site-1/status")):
        refused = await client(method, path, body)
        assert (refused.status, "made by edged" in refused.json["message"]) == (405, True)
    assert (await client("GET", f"{imports}/web.site-1")).json["spec"]["type"] == "ClusterSetIP"
    assert (await client("DELETE", f"{imports}/web.site-1")).status == 200
    assert served.store.get(key) is None


async def test_a_namespace_goes_with_all_that_is_in_it(served: Any, client: Any) -> None:
    await client("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
    await client("POST", "/api/v1/namespaces/n/configmaps", {"metadata": {"name": "a"}})
    body = {"metadata": {"name": "p"}, "spec": {"nodeName": "gw-a", "containers": [{"name": "c", "image": "i"}]}}
    await client("POST", "/api/v1/namespaces/n/pods", body)
    await client("POST", MAPS, {"metadata": {"name": "stays"}})
    assert (await client("DELETE", "/api/v1/namespaces/n")).json["status"] == "Success"
    assert (await client("GET", "/api/v1/namespaces/n")).status == 404
    assert [obj.key.name for resource in ("configmaps", "pods") for obj in served.store.list(resource)] == ["stays"]
    kept = await client("DELETE", "/api/v1/namespaces/default")
    assert (kept.status, kept.json["reason"]) == (403, "Forbidden")


async def test_what_is_made_in_a_namespace_that_is_about_to_go_goes_too(
    served: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
    write, other = served.store.write, await served.dial()

    async def slow(*writes: Any) -> Any:
        if any(isinstance(each, Delete) for each in writes):
            monkeypatch.setattr(served.store, "write", write)
            assert (await other("POST", "/api/v1/namespaces/n/configmaps", {"metadata": {"name": "late"}})).status == 201
        return await write(*writes)

    monkeypatch.setattr(served.store, "write", slow)
    assert (await client("DELETE", "/api/v1/namespaces/n")).status == 200
    await other.aclose()
    assert served.store.list("configmaps") == []
