from typing import Any


async def test_openapi(client: Any) -> None:
    documents = (await client("GET", "/openapi/v3")).json["paths"]
    groups = {
        *("apps/v1", "coordination.k8s.io/v1", "devices.kubeedge.io/v1beta1"),
        *(
            "discovery.k8s.io/v1",
            "multicluster.x-k8s.io/v1alpha1",
            "networking.istio.io/v1alpha3",
            "networking.istio.io/v1beta1",
            "rules.kubeedge.io/v1",
        ),
    }
    assert set(documents) == {"api/v1", *(f"apis/{group}" for group in groups)}
    for document in documents.values():
        paths = (await client("GET", document["serverRelativeURL"])).json["paths"]
        assert all(path["patch"]["parameters"][0]["name"] == "fieldValidation" for path in paths.values())
    assert (await client("GET", "/openapi/v3/apis/batch/v1")).status == 404
    assert (await client("GET", "/openapi/v2")).json["swagger"] == "2.0"
    protobuf = {"accept": "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"}
    assert (await client("GET", "/openapi/v2", headers=protobuf)).body.startswith(b"\x0a\x032.0\x12")
