from typing import Any


async def test_discovery(client: Any) -> None:
    assert (await client("GET", "/api")).json["versions"] == ["v1"]
    groups = (await client("GET", "/apis")).json["groups"]
    assert [group["name"] for group in groups] == ["apps", "devices.kubeedge.io"]
    assert (await client("GET", "/apis/apps")).json["preferredVersion"]["version"] == "v1"
    core = {resource["name"]: resource for resource in (await client("GET", "/api/v1")).json["resources"]}
    assert core["pods"]["shortNames"] == ["po"]
    assert {"pods/log", "pods/status", "namespaces/status"} <= core.keys()
    assert "configmaps/status" not in core
    apps = {resource["name"]: resource for resource in (await client("GET", "/apis/apps/v1")).json["resources"]}
    assert (apps["deployments/scale"]["group"], apps["deployments/scale"]["kind"]) == ("autoscaling", "Scale")
    assert (await client("GET", "/apis/batch/v1")).status == 404
