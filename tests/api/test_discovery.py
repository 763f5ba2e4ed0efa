from typing import Any

from edged.api.discovery import MADE_VERBS


async def test_discovery(client: Any) -> None:
    assert (await client("GET", "/api")).json["versions"] == ["v1"]
    groups = (await client("GET", "/apis")).json["groups"]
    assert [group["name"] for group in groups] == [
        *(
            "apps",
            "coordination.k8s.io",
            "devices.kubeedge.io",
            "discovery.k8s.io",
            "multicluster.x-k8s.io",
            "networking.istio.io",
            "rules.kubeedge.io",
        ),
    ]
    assert (await client("GET", "/apis/apps")).json["preferredVersion"]["version"] == "v1"
    core = {resource["name"]: resource for resource in (await client("GET", "/api/v1")).json["resources"]}
    assert core["pods"]["shortNames"] == ["po"]
    assert {"pods/log", "pods/status", "namespaces/status"} <= core.keys()
    assert "configmaps/status" not in core
    apps = {resource["name"]: resource for resource in (await client("GET", "/apis/apps/v1")).json["resources"]}
    assert (apps["deployments/scale"]["group"], apps["deployments/scale"]["kind"]) == ("autoscaling", "Scale")
    path = "/apis/multicluster.x-k8s.io/v1alpha1"
    imports = {resource["name"]: resource["verbs"] for resource in (await client("GET", path)).json["resources"]}
    assert imports == {"serviceimports": MADE_VERBS, "serviceimports/status": ["get"]}
    assert (await client("GET", "/apis/batch/v1")).status == 404
