import json
from typing import Any

import pytest
import trio

from edged.model.objects import Key
from edged.store.quota import QUOTA, Quota
from edged.store.writes import Put, PutStatus

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE = {"content-type": "application/merge-patch+json"}


def config(name: str = "a", **data: bytes) -> Any:
    return {"metadata": {"name": name}, "data": data}


def web(**spec: Any) -> Any:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    return {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": labels}, "template": template, **spec}}


async def test_create(served: Any, client: Any) -> None:
    reply = await client("POST", MAPS, config(x="y"))
    assert reply.status == 201
    made = reply.json
    assert (made["apiVersion"], made["kind"], made["data"]) == ("v1", "ConfigMap", {"x": "y"})
    metadata = made["metadata"]
    assert (metadata["namespace"], metadata["resourceVersion"]) == ("default", str(served.store.revision))
    assert len(metadata["uid"]) == 36
    assert metadata["creationTimestamp"].endswith("Z")
    assert served.store.get(Key("configmaps", "default", "a")) is not None
    again = await client("POST", MAPS, config())
    assert (again.status, again.json["reason"]) == (409, "AlreadyExists")
    assert again.json["message"] == 'configmaps "a" already exists'
    assert again.json["details"] == {"name": "a", "kind": "configmaps"}


async def test_create_in_a_namespace_that_is_not_there(served: Any, client: Any) -> None:
    before = served.store.revision
    reply = await client("POST", "/api/v1/namespaces/none/configmaps", config())
    assert (reply.status, reply.json["message"]) == (404, 'namespaces "none" not found')
    assert served.store.revision == before


async def test_create_as_yaml(client: Any) -> None:
    yaml = b"metadata:\n  name: a\ndata: {x: 'y'}\n"
    reply = await client("POST", MAPS, yaml, {"content-type": "application/yaml"})
    assert (reply.status, reply.json["data"]) == (201, {"x": "y"})


async def test_first_statuses(client: Any) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "Running"}}
    assert (await client("POST", PODS, pod)).json["status"] == {"phase": "Pending"}
    assert (await client("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})).json["status"] == {"phase": "Active"}
    assert "status" not in (await client("POST", MAPS, config())).json


async def test_update_replaces_all_but_the_status(served: Any, client: Any) -> None:
    made = (await client("POST", DEPLOYMENTS, web())).json
    await served.store.write(PutStatus(Key("deployments.apps", "default", "web"), b'{"replicas":3}'))
    body = web(replicas=2) | {"status": {"replicas": 9}}
    reply = await client("PUT", f"{DEPLOYMENTS}/web", body)
    assert (reply.status, reply.json["spec"]["replicas"], reply.json["status"]) == (200, 2, {"replicas": 3})
    assert reply.json["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]


async def test_update_of_a_version_that_is_gone(client: Any) -> None:
    made = (await client("POST", MAPS, config(x="1"))).json
    assert (await client("PUT", f"{MAPS}/a", {**made, "data": {"x": "2"}})).status == 200
    stale = await client("PUT", f"{MAPS}/a", {**made, "data": {"x": "3"}})
    assert (stale.status, stale.json["reason"]) == (409, "Conflict")
    assert "the object has been modified" in stale.json["message"]
    assert (await client("GET", f"{MAPS}/a")).json["data"] == {"x": "2"}
    other = await client("PUT", f"{MAPS}/a", {"metadata": {"name": "a", "uid": "another"}})
    assert (other.status, other.json["reason"]) == (409, "Conflict")
    assert (await client("PUT", f"{MAPS}/b", config("b"))).status == 404


async def test_an_update_that_changes_nothing_writes_nothing(served: Any, client: Any) -> None:
    made = (await client("POST", MAPS, config(x="1"))).json
    before = served.store.revision
    reply = await client("PUT", f"{MAPS}/a", made)
    assert (reply.json, served.store.revision) == (made, before)


async def test_status_is_written_through_its_subresource_only(client: Any) -> None:
    await client("POST", DEPLOYMENTS, web())
    body = web(replicas=7) | {"status": {"replicas": 4}}
    reply = await client("PUT", f"{DEPLOYMENTS}/web/status", body)
    assert (reply.status, reply.json["status"], reply.json["spec"]["replicas"]) == (200, {"replicas": 4}, 1)
    reply = await client("PATCH", f"{DEPLOYMENTS}/web/status", {"status": {"readyReplicas": 1}}, MERGE)
    assert reply.json["status"] == {"replicas": 4, "readyReplicas": 1}
    assert (await client("GET", f"{DEPLOYMENTS}/web/status")).json == reply.json
    wrong = await client("PATCH", f"{DEPLOYMENTS}/web/status", {"status": {"replicas": "many"}}, MERGE)
    assert (wrong.status, wrong.json["details"]["causes"][0]["field"]) == (422, "status.replicas")
    assert (await client("GET", f"{MAPS}/a/status")).status == 404


async def test_patches_at_once_all_take_effect(served: Any) -> None:
    clients = [await served.dial() for _ in range(4)]
    await clients[0]("POST", MAPS, config())
    replies = []

    async def patch(client: Any, number: int) -> None:
        replies.append(await client("PATCH", f"{MAPS}/a", {"data": {f"k{number}": "v"}}, MERGE))

    async with trio.open_nursery() as nursery:
        for number, client in enumerate(clients):
            nursery.start_soon(patch, client, number)
    assert {reply.status for reply in replies} == {200}
    assert len((await clients[0]("GET", f"{MAPS}/a")).json["data"]) == 4
    for client in clients:
        await client.aclose()


async def test_a_patch_that_always_comes_too_late_is_a_conflict(
    served: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client("POST", MAPS, config())
    write, key = served.store.write, Key("configmaps", "default", "a")

    async def rival(*writes: Any) -> Any:
        there = json.loads(served.store.get(key).body)
        there["data"] = {"n": str(served.store.revision)}
        await write(Put(key, json.dumps(there).encode()))
        return await write(*writes)

    monkeypatch.setattr(served.store, "write", rival)
    reply = await client("PATCH", f"{MAPS}/a", {"data": {"x": "y"}}, MERGE)
    assert (reply.status, reply.json["reason"]) == (409, "Conflict")


async def test_a_create_whose_namespace_goes_meanwhile(served: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await client("POST", "/api/v1/namespaces", {"metadata": {"name": "brief"}})
    write = served.store.write
    other = await served.dial()

    async def slow(*writes: Any) -> Any:
        monkeypatch.setattr(served.store, "write", write)
        assert (await other("DELETE", "/api/v1/namespaces/brief")).status == 200
        return await write(*writes)

    monkeypatch.setattr(served.store, "write", slow)
    reply = await client("POST", "/api/v1/namespaces/brief/configmaps", config())
    await other.aclose()
    assert (reply.status, reply.json["message"]) == (404, 'namespaces "brief" not found')
    assert served.store.list("configmaps") == []


async def test_dry_run_stores_nothing(served: Any, client: Any) -> None:
    before = served.store.revision
    made = await client("POST", f"{DEPLOYMENTS}?dryRun=All", web())
    assert (made.status, made.json["spec"]["replicas"]) == (201, 1)
    assert served.store.revision == before
    await client("POST", DEPLOYMENTS, web())
    before = served.store.revision
    assert (await client("POST", f"{DEPLOYMENTS}?dryRun=All", web())).status == 409
    scaled = await client("PATCH", f"{DEPLOYMENTS}/web?dryRun=All", {"spec": {"replicas": 5}}, MERGE)
    assert scaled.json["spec"]["replicas"] == 5
    assert (await client("DELETE", f"{DEPLOYMENTS}/web?dryRun=All")).status == 200
    assert served.store.revision == before
    assert (await client("POST", f"{DEPLOYMENTS}?dryRun=Some", web())).status == 422


async def test_service_addresses(client: Any) -> None:
    def service(name: str, **spec: Any) -> Any:
        return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}

    first = (await client("POST", SERVICES, service("a"))).json["spec"]
    assert first["clusterIP"].startswith("9.251.")
    assert first["clusterIPs"] == [first["clusterIP"]]
    taken = await client("POST", SERVICES, service("b", clusterIP=first["clusterIP"]))
    assert (taken.status, taken.json["details"]["causes"][0]["field"]) == (422, "spec.clusterIP")
    assert (await client("POST", SERVICES, service("b", clusterIP="10.0.0.1"))).status == 422
    assert (await client("POST", SERVICES, service("b", clusterIP="9.251.7.7"))).json["spec"]["clusterIP"] == "9.251.7.7"
    headless = (await client("POST", SERVICES, service("c", clusterIP="None"))).json["spec"]
    assert headless["clusterIPs"] == ["None"]
    replaced = await client("PUT", f"{SERVICES}/a", service("a", ports=[{"port": 81}]))
    assert replaced.json["spec"]["clusterIP"] == first["clusterIP"]
    moved = await client("PATCH", f"{SERVICES}/a", {"spec": {"clusterIP": "9.251.9.9"}}, MERGE)
    assert moved.status == 422


async def test_services_made_at_once_have_addresses_of_their_own(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.mesh.addresses.hashlib.sha256", lambda _: __import__("hashlib").md5(b"", usedforsecurity=False))
    clients = [await served.dial() for _ in range(5)]
    replies = []

    async def create(client: Any, number: int) -> None:
        body = {"metadata": {"name": f"s{number}"}, "spec": {"ports": [{"port": 80}]}}
        replies.append(await client("POST", SERVICES, body))

    async with trio.open_nursery() as nursery:
        for number, client in enumerate(clients):
            nursery.start_soon(create, client, number)
    assert len({reply.json["spec"]["clusterIP"] for reply in replies}) == 5
    for client in clients:
        await client.aclose()


async def test_a_full_quota_is_told_as_kubernetes_tells_it(served: Any, client: Any) -> None:
    served.store._quota = Quota(1)
    reply = await client("POST", MAPS, {"metadata": {"name": "more"}, "data": {}})
    assert (reply.status, reply.json["reason"]) == (403, "Forbidden")
    assert reply.json["message"].startswith('configmaps "more" is forbidden: exceeded quota: ')
    served.store._quota = QUOTA
    assert (await client("POST", MAPS, {"metadata": {"name": "more"}, "data": {}})).status == 201


async def test_a_full_disk_is_told_and_reads_go_on(served: Any, client: Any) -> None:
    body = {"metadata": {"name": "big"}, "data": {"k": "x" * 500_000}}
    served.store._disk.writer.pragma("max_page_count", 1)  # as small as it is now
    reply = await client("POST", MAPS, body)
    status = reply.json
    assert (reply.status, status["kind"], status["code"], status["reason"]) == (507, "Status", 507, "InsufficientStorage")
    assert status["message"] == "the store takes no writes: the disk is full (database or disk is full)"
    assert status["details"] == {"kind": "configmaps"}
    assert (await client("GET", "/api/v1/namespaces/default")).status == 200
    assert (await client("POST", MAPS, body)).status == 201  # by then there is space again
