from typing import Any

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE = {"content-type": "application/merge-patch+json"}


def web(**spec: Any) -> Any:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    return {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": labels}, "template": template, **spec}}


async def test_scale(client: Any) -> None:
    await client("POST", DEPLOYMENTS, web())
    scale = (await client("GET", f"{DEPLOYMENTS}/web/scale")).json
    assert (scale["kind"], scale["spec"], scale["status"]) == ("Scale", {"replicas": 1}, {"replicas": 0, "selector": "app=web"})
    scale["spec"]["replicas"] = 3
    assert (await client("PUT", f"{DEPLOYMENTS}/web/scale", scale)).json["spec"] == {"replicas": 3}
    assert (await client("PUT", f"{DEPLOYMENTS}/web/scale", scale)).status == 409
    patched = await client("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 0}}, MERGE)
    assert patched.json["spec"] == {"replicas": 0}
    wrong = await client("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": -1}}, MERGE)
    assert (wrong.status, wrong.json["details"]["causes"][0]["field"]) == (422, "spec.replicas")
    assert (await client("GET", f"{PODS}/web/scale")).status == 404
