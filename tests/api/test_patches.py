from typing import Any

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE = {"content-type": "application/merge-patch+json"}
STRATEGIC = {"content-type": "application/strategic-merge-patch+json"}
JSON_PATCH = {"content-type": "application/json-patch+json"}


def web(**spec: Any) -> Any:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    return {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": labels}, "template": template, **spec}}


async def test_patches(client: Any) -> None:
    await client("POST", DEPLOYMENTS, web())
    container = {"name": "side", "image": "s"}
    change = {"spec": {"template": {"spec": {"containers": [container]}}}}
    merged = (await client("PATCH", f"{DEPLOYMENTS}/web", change, STRATEGIC)).json
    assert [c["name"] for c in merged["spec"]["template"]["spec"]["containers"]] == ["side", "c"]
    operations = [{"op": "replace", "path": "/spec/replicas", "value": 3}]
    assert (await client("PATCH", f"{DEPLOYMENTS}/web", operations, JSON_PATCH)).json["spec"]["replicas"] == 3
    failed = await client("PATCH", f"{DEPLOYMENTS}/web", [{"op": "test", "path": "/kind", "value": "x"}], JSON_PATCH)
    assert failed.status in (400, 422)
    renamed = await client("PATCH", f"{DEPLOYMENTS}/web", {"metadata": {"name": "other"}}, MERGE)
    assert renamed.status == 400
    assert (await client("PATCH", f"{DEPLOYMENTS}/web", {"metadata": {"resourceVersion": "1"}}, MERGE)).status == 409
    assert (await client("PATCH", f"{DEPLOYMENTS}/none", {}, MERGE)).status == 404
    assert (await client("PATCH", f"{DEPLOYMENTS}/web", b"[1", JSON_PATCH)).status == 400
    apply = {"content-type": "application/apply-patch+yaml"}
    reply = await client("PATCH", f"{DEPLOYMENTS}/web", web(), apply)
    assert (reply.status, "server-side apply" in reply.json["message"]) == (415, True)
    device = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices/d"
    assert (await client("PATCH", device, {}, STRATEGIC)).status == 415
