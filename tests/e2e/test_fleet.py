"""Three groups, an observer and a relay as real programs on loopback: what crosses from one group to another, and what not."""

import datetime
import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from build.fleet import FailedError, temporary
from build.group import Group, OnLoopback
from edged.identity.authority import Authority
from edged.identity.bundle import join
from edged.kit.files import private_dir, write_private
from edged.mesh.addresses import allocate, twin
from edged.mesh.udpdoors import INSTEAD

pytestmark = [pytest.mark.tool("kubectl"), pytest.mark.tool("setpriv")]

GROUPS = {"gw-01": "site-1", "gw-02": "site-1", "gw-03": "site-2", "gw-04": "site-3", "gw-05": "cloud"}
ONE, TWO, YARD, DOCK, OBSERVER = GROUPS
OTHERS = (TWO, YARD, DOCK, OBSERVER)
SECONDS = 30.0  # bounds, not expectations: a busy machine is slow, not wrong
MODELS = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devicemodels"
MAPS = "/api/v1/namespaces/default/configmaps"
SERVICES = "/api/v1/namespaces/default/services"
PODS = "/api/v1/namespaces/default/pods"
IMPORTS = "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports"
EXPORT = "edged.io/export"
LOOPBACK = "127.{}.0.0/16"  # where a node's mesh is


class Fleet(Group):
    """Nodes of several groups."""

    def found(self, **more: Any) -> None:
        """An authority, a relay, and nodes of the groups above."""
        now = datetime.datetime.now(datetime.UTC)
        authority = Authority.create(self.folder / "authority", "trial", now)
        bundle = authority.issue_relay("relay", [self.site.relay.partition(":")[0]], now)
        relay = private_dir(self.folder / "relay")
        for name, data in {"relay.crt": bundle.certificate, "relay.key": bundle.key, "authority.crt": bundle.authority}.items():
            write_private(relay / name, data)
        for at, (node, group) in enumerate(GROUPS.items()):
            observes = ["site-1"] if node == OBSERVER else []
            join(authority.issue(node, group, [f"wss://{self.site.relay}"], now, observes=observes), self.folder / node)
            self.configure(node, mesh={"enabled": True, "rootless": True, "loopback": LOOPBACK.format(200 + at)}, **more)

    def names(self, node: str, path: str) -> set[str]:
        """The objects of a collection that a node shows."""
        return {item["metadata"]["name"] for item in self.local(node).get(path)["items"]}

    def reaches(self, path: str, name: str, *nodes: str) -> None:
        """Wait until the nodes show an object."""
        for node in nodes:
            self.wait(f"{name} at {node}", lambda node=node: name in self.names(node, path), SECONDS)  # type: ignore[misc]

    def leaves(self, path: str, name: str, *nodes: str) -> None:
        """Wait until the nodes show an object no more."""
        for node in nodes:
            self.wait(f"the end of {name} at {node}", lambda node=node: name not in self.names(node, path), SECONDS)  # type: ignore[misc]

    def scopes(self, node: str) -> set[str]:
        """Of which scopes a node holds anything."""
        return {origin.partition("/")[0] for origin in self.local(node).get("/edged/v1/status")["vector"]}


def model(name: str, protocol: str = "modbus") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    kind = {"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel"}
    return {**kind, "metadata": metadata, "spec": {"protocol": protocol}}


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with temporary("edged-fleet") as folder, Fleet(folder, OnLoopback(len(GROUPS)), peers=False) as made:
        made.found()
        made.start_relay()
        made.start_nodes(*GROUPS)
        made.wait("site-1 to form", lambda: made.names(TWO, "/api/v1/nodes") == {ONE, TWO}, SECONDS)
        yield made


def test_the_fleets_objects_reach_every_group_and_their_ends_too(fleet: Fleet) -> None:
    fleet.local(ONE).create(model("thermometer"))
    fleet.reaches(MODELS, "thermometer", *OTHERS)
    fleet.local(YARD).patch(f"{MODELS}/thermometer", {"spec": {"protocol": "opcua"}})

    def told() -> bool:
        return all(fleet.local(node).get(f"{MODELS}/thermometer")["spec"]["protocol"] == "opcua" for node in GROUPS)

    fleet.wait("the change everywhere", told, SECONDS)
    fleet.local(DOCK).delete(f"{MODELS}/thermometer")
    fleet.leaves(MODELS, "thermometer", *GROUPS)


def test_what_is_a_groups_stays_in_it_and_goes_to_its_observer(fleet: Fleet) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "recipe"}, "data": {"salt": "a pinch"}}
    fleet.local(ONE).create(manifest)
    fleet.reaches(MAPS, "recipe", TWO)
    fleet.reaches(f"/groups/site-1{MAPS}", "recipe", OBSERVER)
    assert "recipe" not in fleet.names(OBSERVER, MAPS)
    fleet.local(YARD).create(model("marker"))
    fleet.reaches(MODELS, "marker", ONE, DOCK)  # what could have come by now has
    assert fleet.scopes(YARD) == {"*", "site-2"}
    assert fleet.scopes(DOCK) == {"*", "site-3"}
    assert fleet.scopes(ONE) == fleet.scopes(TWO) == {"*", "site-1"}
    assert fleet.scopes(OBSERVER) == {"*", "site-1", "cloud"}
    assert "observes" in fleet.run(
        OBSERVER, [Path(sys.executable).parent / "edged", "status", "--config", fleet.config(OBSERVER)]
    )


def test_kubectl_reads_an_observed_group_and_writes_nothing_there(fleet: Fleet) -> None:
    config = fleet.folder / "site-1.kubeconfig"
    fleet.edged("kubeconfig", "--config", fleet.config(OBSERVER), "--group", "site-1", "-o", config)

    def kubectl(*arguments: str) -> str:
        cache = {"KUBECACHEDIR": str(fleet.folder / "observed")}
        return fleet.run(OBSERVER, ["kubectl", "--kubeconfig", config, *arguments], cache)

    nodes = fleet.wait(
        "the nodes of site-1",
        lambda: {ONE, TWO} == set(kubectl("get", "nodes", "-o", "name").replace("node/", "").split()),
        SECONDS,
    )
    assert nodes
    assert "recipe" in kubectl("get", "configmaps", "-A")
    with pytest.raises(FailedError, match=f"nothing of it is written: ask one of its nodes, such as ({ONE}|{TWO})"):
        kubectl("delete", "configmap", "recipe")
    assert "recipe" in fleet.names(ONE, MAPS)


def test_an_exported_service_is_seen_abroad_with_who_answers(fleet: Fleet) -> None:
    labels = {"app": "web"}
    env = [{"name": "WORD", "value": "private"}, {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    serve = ["python3", "-m", "http.server", "--bind", "$(IP)", "8080"]
    container = {"name": "web", "image": "host", "command": serve, "env": env}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    service = {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    fleet.local(ONE).create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
    fleet.local(ONE).create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service})
    fleet.reaches(SERVICES, "web", TWO)
    fleet.local(TWO).patch(f"{SERVICES}/web", {"metadata": {"annotations": {EXPORT: "true"}}})
    fleet.ready(YARD)

    def shown() -> list[Any]:
        items = fleet.local(YARD).get(IMPORTS)["items"]
        return [item for item in items if [each["ready"] for each in item["status"]["endpoints"]] == [True, True]]

    (found,) = fleet.wait("the service at site-2", shown, SECONDS)
    assert found["metadata"]["name"] == "web.site-1"
    assert {each["node"] for each in found["status"]["endpoints"]} <= {ONE, TWO}
    assert found["status"]["endpoints"][0]["ports"] == [{"port": 80, "targetPort": 8080}]
    assert "private" not in json.dumps(found)
    listed = fleet.kubectl(YARD, "get", "serviceimports", "-A").splitlines()
    assert listed[1].split()[:6] == ["default", "web.site-1", "ClusterSetIP", "site-1", "80/TCP", "2/2"]
    # What site-2 calls by its name is at an address of its own, and answered by a pod of site-1.
    address = twin(allocate("default", "web", ()), LOOPBACK.format(200 + list(GROUPS).index(YARD)))

    def answered() -> bool:
        try:
            with urllib.request.urlopen(f"http://{address}:{80 + INSTEAD * (os.geteuid() != 0)}/", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    fleet.wait("an answer from site-1 at site-2", answered, SECONDS)
    fleet.local(ONE).patch(f"{SERVICES}/web", {"metadata": {"annotations": {EXPORT: None}}})
    fleet.wait("no answer to who is no more shown it", lambda: not answered(), SECONDS)
    fleet.leaves(IMPORTS, "web.site-1", *GROUPS)
    fleet.local(ONE).delete("/apis/apps/v1/namespaces/default/deployments/web")  # its processes would outlive the daemons
    fleet.wait("the pods to end", lambda: not fleet.names(ONE, PODS) | fleet.names(TWO, PODS), SECONDS)


def test_a_group_whose_first_contact_dies_stays_in_the_fleet(fleet: Fleet) -> None:
    fleet.kill(ONE)
    fleet.local(TWO).create(model("late"))
    fleet.reaches(MODELS, "late", YARD, DOCK, OBSERVER)
    fleet.local(DOCK).delete(f"{MODELS}/late")
    fleet.leaves(MODELS, "late", TWO, YARD, OBSERVER)
