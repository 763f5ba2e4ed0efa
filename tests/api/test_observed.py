"""The objects of a group that is only observed: read with the real kubectl, and refused to be written, with a reason."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from edged.api.kubeconfig import kubeconfig
from edged.api.routes import parted
from edged.identity.certificates import EVERY
from edged.model.objects import Key, dump
from edged.store.writes import Create
from edged.wire.sync import BODY, STATUS, Delta, Register

from .conftest import Client, Kubectl, times_now

ORIGIN = "site-1/gw-x:1"
PODS = "/groups/site-1/api/v1/namespaces/default/pods"


def registers() -> list[Register]:
    """A node and a pod of site-1, as they come by replication."""
    spec = {"nodeName": "gw-x", "containers": [{"name": "c", "image": "host"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": "default", "uid": "p"}, "spec": spec}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gw-x", "uid": "n"}, "spec": {}}
    ready = [{"type": "Ready", "status": "True"}]
    said = {"conditions": ready, "addresses": [{"type": "InternalIP", "address": "192.0.2.7"}]}
    values = [
        ("pods", "default", "web-0", BODY, "p", pod),
        ("pods", "default", "web-0", STATUS, "p", {"phase": "Running", "conditions": ready}),
        ("nodes", "", "gw-x", BODY, "n", node),
        ("nodes", "", "gw-x", STATUS, "n", said),
    ]
    return [Register(*at, ORIGIN, seq, seq, dump(value)) for seq, (*at, value) in enumerate(values, 1)]


@pytest.fixture(params=[("site-1", "site-2"), (EVERY,)], ids=["named", "every"])
async def observer(served: Any, tmp_path: Path, request: Any) -> AsyncIterator[Any]:
    served.identity.subject = served.identity.subject._replace(observes=request.param)
    await served.store.merge(Delta(ORIGIN, 0, 4, registers()))
    async with trio.open_nursery() as nursery:
        served.address = await nursery.start(served.another(0, tmp_path / "observer.sock").run)
        yield served
        nursery.cancel_scope.cancel()


@pytest.fixture
async def ask(observer: Any, tmp_path: Path) -> AsyncIterator[Client]:
    client = Client(await trio.open_unix_socket(tmp_path / "observer.sock"))
    yield client
    await client.aclose()


@pytest.mark.parametrize(
    ("path", "group", "rest"),
    [
        ("/api/v1/pods", "", "/api/v1/pods"),
        ("/groups/site-1/api/v1/pods", "site-1", "/api/v1/pods"),
        ("/groups/site-1", "site-1", "/"),
        ("/groups/", "", "/"),
        ("/groups", "", "/groups"),
    ],
)
def test_which_group_a_path_is_about(path: str, group: str, rest: str) -> None:
    assert parted(path) == (group, rest)


async def test_what_is_read(ask: Client) -> None:
    listed = (await ask("GET", "/groups/site-1/api/v1/pods")).json
    assert [item["metadata"]["name"] for item in listed["items"]] == ["web-0"]
    assert (await ask("GET", f"{PODS}/web-0")).json["status"]["phase"] == "Running"
    assert (await ask("GET", f"{PODS}/web-0/status")).json["spec"]["nodeName"] == "gw-x"
    assert (await ask("GET", f"{PODS}?labelSelector=app%3Dweb")).json["items"] == []
    assert (await ask("GET", f"{PODS}/web-1")).status == 404
    assert (await ask("GET", "/groups/site-2/api/v1/pods")).json["items"] == []
    assert (await ask("GET", "/api/v1/pods")).json["items"] == []  # in this node's own group there is none
    assert (await ask("GET", "/groups/site-1/version")).json["major"] == "1"
    assert (await ask("GET", "/groups/site-1/apis")).json["kind"] == "APIGroupList"


async def test_what_is_the_fleets_is_the_same_everywhere(ask: Client, observer: Any) -> None:
    key = Key("devicemodels.devices.kubeedge.io", "default", "thermometer")
    model = {"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel", "metadata": {"name": "thermometer"}}
    await observer.store.write(Create(key, "u", dump(model), None))
    listed = await ask("GET", "/groups/site-1/apis/devices.kubeedge.io/v1beta1/devicemodels")
    assert [item["metadata"]["name"] for item in listed.json["items"]] == ["thermometer"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", PODS), ("PUT", f"{PODS}/web-0"), ("PATCH", f"{PODS}/web-0"), ("DELETE", f"{PODS}/web-0"), ("DELETE", PODS)],
)
async def test_nothing_is_written_and_the_answer_says_whom_to_ask(ask: Client, observer: Any, method: str, path: str) -> None:
    before = observer.store.revision
    refused = await ask(method, path, {"metadata": {"name": "web-0"}})
    said = "group site-1 is only observed here, nothing of it is written: ask one of its nodes, such as gw-x at 192.0.2.7"
    assert (refused.status, refused.json["message"]) == (405, said)
    assert observer.store.revision == before
    assert refused.json["reason"] == "MethodNotAllowed"


async def test_what_goes_on_at_its_nodes_is_asked_there(ask: Client) -> None:
    watched = await ask("GET", f"{PODS}?watch=1")
    assert (watched.status, "watch is not served for group site-1" in watched.json["message"]) == (405, True)
    logs = await ask("GET", f"{PODS}/web-0/log")
    assert (logs.status, "such as gw-x at 192.0.2.7" in logs.json["message"]) == (405, True)
    for path in ("metrics", "edged/v1/status", "anything", ""):
        assert (await ask("GET", f"/groups/site-1/{path}")).status == 404


async def test_a_group_that_is_not_observed(served: Any, client: Client) -> None:
    own = served.identity.group
    for group in ("site-1", own, "no-such"):
        refused = await client("GET", f"/groups/{group}/api/v1/pods")
        said = f'group "{group}" is not observed by node gw-a, which observes none'
        assert (refused.status, refused.json["message"]) == (404, said)


async def test_who_may_not_read_here_may_not_read_there(observer: Any) -> None:
    client = await observer.dial_tls(observer.context())
    assert (await client("GET", "/groups/site-1/api/v1/pods")).status == 401
    await client.aclose()


@pytest.mark.tool("kubectl")
async def test_kubectl(observer: Any, tmp_path: Path) -> None:
    config, identity = tmp_path / "site-1", observer.identity
    address = f"https://{observer.address}"
    config.write_text(kubeconfig(observer.state_dir, address, "gw-a", identity.authority_pem, times_now(), group="site-1"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECACHEDIR": str(tmp_path / "cache")}
    kubectl = Kubectl({**environment, "KUBECONFIG": str(config)})
    pods = (await kubectl("get", "pods", "-o", "wide")).splitlines()
    assert pods[1].split()[:3] == ["web-0", "0/1", "Running"]
    assert "gw-x" in pods[1]
    assert (await kubectl("get", "nodes", "-o", "name")).split() == ["node/gw-x"]
    assert "web-0" in await kubectl("describe", "pod", "web-0")
    assert "nothing of it is written: ask one of its nodes, such as gw-x" in await kubectl("delete", "pod", "web-0", fails=True)
    assert await kubectl("config", "current-context") == "admin@site-1\n"
