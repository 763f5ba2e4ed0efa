from typing import Any

import pytest

from edged.api.admission import MAX_OBJECT, MAX_WARNINGS

MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE = {"content-type": "application/merge-patch+json"}


def config(name: str = "a", **data: bytes) -> Any:
    return {"metadata": {"name": name}, "data": data}


def web(**spec: Any) -> Any:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    return {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": labels}, "template": template, **spec}}


async def test_create_keeps_nothing_that_only_the_api_writes(client: Any) -> None:
    made = config()
    made["metadata"] |= {"uid": "x", "generation": 9, "deletionTimestamp": "2020-01-01T00:00:00Z", "selfLink": "/x"}
    made["metadata"] |= {"creationTimestamp": "2020-01-01T00:00:00Z", "managedFields": [{"manager": "m"}]}
    metadata = (await client("POST", MAPS, made)).json["metadata"]
    assert metadata["uid"] != "x"
    assert not metadata["creationTimestamp"].startswith("2020")
    assert not {"generation", "deletionTimestamp", "selfLink", "managedFields"} & metadata.keys()


async def test_create_by_generated_name(client: Any) -> None:
    body = {"metadata": {"generateName": "web-"}}
    names = {(await client("POST", MAPS, body)).json["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("web-") and len(name) == 9 for name in names)


async def test_unknown_fields_by_field_validation(served: Any, client: Any) -> None:
    body = web(foo=1)
    body["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    before = served.store.revision
    strict = await client("POST", f"{DEPLOYMENTS}?fieldValidation=Strict", body)
    assert (strict.status, strict.json["reason"]) == (400, "BadRequest")
    fields = ['unknown field "spec.template.spec.containers[0].imagee"', 'unknown field "spec.foo"']
    assert "strict decoding error: " in strict.json["message"]
    assert all(field in strict.json["message"] for field in fields)
    assert served.store.revision == before
    warned = await client("POST", DEPLOYMENTS, body)
    assert warned.status == 201
    assert sorted(warned.warnings) == sorted('299 - "' + field.replace('"', '\\"') + '"' for field in fields)
    assert "foo" not in warned.json["spec"]
    ignored = await client("PUT", f"{DEPLOYMENTS}/web?fieldValidation=Ignore", body)
    assert (ignored.status, ignored.warnings) == (200, [])
    assert (await client("POST", f"{DEPLOYMENTS}?fieldValidation=Loud", body)).status == 422


async def test_fields_that_are_kept_but_not_acted_on_are_told(client: Any) -> None:
    body = web(minReadySeconds=5)
    made = await client("POST", DEPLOYMENTS, body)
    told = '299 - "spec.minReadySeconds is kept, edged does not act on it yet"'
    assert made.warnings == [told]
    assert made.json["spec"]["minReadySeconds"] == 5
    labelled = await client("PATCH", f"{DEPLOYMENTS}/web", {"metadata": {"labels": {"a": "b"}}}, MERGE)
    assert (labelled.status, labelled.warnings) == (200, [])
    scaled = await client("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 2}}, MERGE)
    assert scaled.warnings == [told]


async def test_warnings_are_few_and_plain(client: Any) -> None:
    body = config(**{})
    body |= {f'f\u20ac"{number}\\': 1 for number in range(MAX_WARNINGS + 9)}
    reply = await client("POST", MAPS, body)
    assert (reply.status, len(reply.warnings)) == (201, MAX_WARNINGS)
    assert reply.warnings[-1] == '299 - "and 10 more warnings"'
    assert all(warning.isascii() for warning in reply.warnings)


async def test_defaults_and_generation(client: Any) -> None:
    made = (await client("POST", DEPLOYMENTS, web())).json
    assert (made["spec"]["replicas"], made["metadata"]["generation"]) == (1, 1)
    same = (await client("PATCH", f"{DEPLOYMENTS}/web", {"metadata": {"labels": {"a": "b"}}}, MERGE)).json
    assert same["metadata"]["generation"] == 1
    more = (await client("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 2}}, MERGE)).json
    assert more["metadata"]["generation"] == 2
    assert more["metadata"]["uid"] == made["metadata"]["uid"]


@pytest.mark.parametrize("size", [MAX_OBJECT + 1, 2 * MAX_OBJECT])
async def test_an_object_that_no_frame_takes_is_refused(served: Any, client: Any, size: int) -> None:
    before = served.store.revision
    reply = await client("POST", MAPS, config(x="y" * size))
    assert reply.status in (413, 422)
    assert served.store.revision == before


async def test_identity_of_body_and_path(client: Any) -> None:
    async def message(method: str, target: str, body: Any) -> Any:
        reply = await client(method, target, body)
        assert reply.status == 400
        return reply.json["message"]

    assert "does not match the expected kind" in await message("POST", MAPS, {**config(), "kind": "Secret"})
    assert "does not match the expected apiVersion" in await message("POST", MAPS, {**config(), "apiVersion": "v2"})
    other = {"metadata": {"name": "a", "namespace": "other"}}
    assert "namespace of the provided object" in await message("POST", MAPS, other)
    await client("POST", MAPS, config("b"))
    assert "does not match the name on the URL" in await message("PUT", f"{MAPS}/b", config("a"))
    versioned = {"metadata": {"name": "a", "resourceVersion": "5"}}
    assert "resourceVersion should not be set" in await message("POST", MAPS, versioned)


DEVICES = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices"


def roaming(node: str = "", **selector: str) -> Any:
    spec: Any = {"deviceModelRef": {"name": "m"}, "nodeSelector": selector}
    return {"metadata": {"name": "d"}, "spec": {**spec, **({"nodeName": node} if node else {})}}


async def test_a_device_stays_where_it_was_bound_while_its_selector_stays(client: Any) -> None:
    await client("POST", DEVICES, roaming("gw-a", bus="1"))
    assert (await client("PUT", f"{DEVICES}/d", roaming(bus="1"))).json["spec"]["nodeName"] == "gw-a"
    assert (await client("PUT", f"{DEVICES}/d", roaming("gw-b", bus="1"))).json["spec"]["nodeName"] == "gw-b"
    assert "nodeName" not in (await client("PUT", f"{DEVICES}/d", roaming(bus="2"))).json["spec"]
