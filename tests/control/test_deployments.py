import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edged.control.deployments import HASH_LABEL, orphans, reconcile, template_hash
from edged.control.pods import Owned
from edged.model import names
from edged.model.limits import MAX_REPLICAS
from edged.model.objects import Key, Object, dump
from edged.store.writes import Create, Delete, Put, PutStatus

NOW = 1_700_000_000.0
UID = "7b1f2f2e-0000-4000-8000-000000000001"
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "one"}]}}


def deployment(replicas: int = 2, template: Any = TEMPLATE, strategy: Any = None, status: Any = None) -> Object:
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    if strategy:
        spec["strategy"] = strategy
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "uid": UID, "generation": 3},
        "spec": spec,
    }
    return Object(Key("deployments.apps", "default", "web"), 1, UID, dump(body), dump(status) if status else None)


class World:
    """Pods that come to be and go as a store and willing nodes would have it."""

    def __init__(self, made: Object) -> None:
        self.deployment = made
        self.pods: dict[str, Object] = {}
        self.uids: dict[Key, str] = {}
        self.status: dict[str, Any] = {}
        self.silent: set[str] = set()

    def step(self) -> list[Any]:
        writes = reconcile(self.deployment, [Owned.of(pod) for pod in self.pods.values()], self.uids.get, NOW, self.silent)
        for write in writes:
            name = write.key.name
            match write:
                case Create():
                    assert name not in self.pods
                    body = json.loads(write.body)
                    body["spec"]["nodeName"] = "gw-b"
                    self.pods[name] = Object(write.key, 1, write.uid, dump(body), write.status)
                    self.uids[write.key] = write.uid
                case Put():
                    self.pods[name] = self.pods[name]._replace(body=write.body)
                case Delete():
                    del self.pods[name]
                case PutStatus():
                    self.status = json.loads(write.status)
                    self.deployment = self.deployment._replace(status=write.status)
        return writes

    def ready(self, name: str, is_ready: bool = True) -> None:
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(is_ready)}]}
        self.pods[name] = self.pods[name]._replace(status=dump(status))

    def finish_deletions(self) -> None:
        for name, obj in list(self.pods.items()):
            if "deletionTimestamp" in json.loads(obj.body)["metadata"]:
                del self.pods[name]

    def available(self) -> int:
        return sum(
            '"Ready","status":"True"' in (obj.status or b"").decode()
            and "deletionTimestamp" not in json.loads(obj.body)["metadata"]
            for obj in self.pods.values()
        )


def test_pods_have_deterministic_names_and_uids() -> None:
    one, other = World(deployment()), World(deployment())
    one.step()
    other.step()
    assert one.pods == other.pods
    digest = template_hash(TEMPLATE)
    assert sorted(one.pods) == [f"web-{digest}-0", f"web-{digest}-1"]
    body = json.loads(one.pods[f"web-{digest}-0"].body)
    assert body["metadata"]["labels"] == {"app": "web", HASH_LABEL: digest}
    assert body["metadata"]["ownerReferences"][0]["uid"] == UID
    assert body["spec"]["containers"] == TEMPLATE["spec"]["containers"]


def test_a_pod_made_again_is_another_one_and_the_same_everywhere() -> None:
    world = World(deployment())
    world.step()
    before = dict(world.pods)
    name = sorted(world.pods)[0]
    del world.pods[name]
    history = dict(world.uids)
    world.step()
    assert world.pods[name].uid != before[name].uid
    twin = World(deployment())
    twin.pods = {other: obj for other, obj in before.items() if other != name}
    twin.uids = history
    twin.step()
    assert twin.pods == world.pods


def test_the_hash_is_the_same_for_the_same_template_in_another_order() -> None:
    assert template_hash({"a": 1, "b": {"c": 2, "d": 3}}) == template_hash({"b": {"d": 3, "c": 2}, "a": 1})
    assert template_hash({"a": 1}) != template_hash({"a": 2})


def test_nothing_is_written_when_all_is_well() -> None:
    world = World(deployment())
    world.step()
    for name in world.pods:
        world.ready(name)
    world.step()
    assert world.status["readyReplicas"] == 2
    assert {each["type"]: each["status"] for each in world.status["conditions"]} == {"Available": "True", "Progressing": "True"}
    assert world.step() == []


def test_a_pod_on_a_node_that_nobody_sees_is_not_ready() -> None:
    world = World(deployment())
    world.step()
    for name in world.pods:
        world.ready(name)
    world.step()
    world.silent = {"gw-b"}
    assert [type(write) for write in world.step()] == [PutStatus]
    assert (world.status.get("readyReplicas", 0), world.status["unavailableReplicas"], world.status["replicas"]) == (0, 2, 2)
    assert world.step() == []
    world.silent = set()
    world.step()
    assert world.status["readyReplicas"] == 2


def test_scaling_down_removes_the_highest() -> None:
    world = World(deployment(3))
    world.step()
    world.deployment = deployment(1)
    world.step()
    world.finish_deletions()
    assert [name[-2:] for name in world.pods] == ["-0"]


def test_an_ended_pod_is_replaced() -> None:
    world = World(deployment(1))
    world.step()
    [name] = world.pods
    world.pods[name] = world.pods[name]._replace(status=dump({"phase": "Failed"}))
    assert any(isinstance(write, Delete) for write in world.step())
    world.step()
    assert list(world.pods) == [name]


@given(
    replicas=st.integers(0, 6),
    surge=st.sampled_from([0, 1, 2, "25%", "100%"]),
    unavailable=st.sampled_from([0, 1, "25%", "50%"]),
    order=st.randoms(use_true_random=False),
)
def test_a_rolling_update_keeps_its_bounds_and_ends(replicas: int, surge: Any, unavailable: Any, order: Any) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    world = World(deployment(replicas, strategy=strategy))
    world.step()
    for name in list(world.pods):
        world.ready(name)
    world.step()
    changed = {**TEMPLATE, "spec": {"containers": [{"name": "c", "image": "two"}]}}
    world.deployment = deployment(replicas, changed, strategy)

    def number(value: Any, up: bool) -> int:
        return value if isinstance(value, int) else (int(value[:-1]) * replicas + (99 if up else 0)) // 100

    most, least = replicas + number(surge, True), replicas - number(unavailable, False)
    if most == least:
        least -= 1
    for round_ in range(60):
        world.step()
        assert len(world.pods) <= most + replicas  # those that are going may still be there
        going = sum("deletionTimestamp" in json.loads(obj.body)["metadata"] for obj in world.pods.values())
        assert len(world.pods) - going <= most
        assert world.available() >= min(least, replicas)
        settle = round_ >= 30  # in the end every pod becomes ready, and every deletion ends
        if settle or order.random() < 0.6:
            world.finish_deletions()
        for name in sorted(world.pods) if settle else order.sample(sorted(world.pods), order.randint(0, len(world.pods))):
            if "deletionTimestamp" not in json.loads(world.pods[name].body)["metadata"]:
                world.ready(name)
    digest = template_hash(changed)
    world.finish_deletions()
    assert sorted(world.pods) == sorted(f"web-{digest}-{index}" for index in range(replicas))


def test_recreate_waits_until_the_old_are_gone() -> None:
    strategy = {"type": "Recreate"}
    world = World(deployment(2, strategy=strategy))
    world.step()
    old = set(world.pods)
    world.deployment = deployment(2, {"metadata": {}, "spec": {"containers": []}}, strategy)
    world.step()
    assert set(world.pods) == old
    world.finish_deletions()
    world.step()
    assert len(world.pods) == 2
    assert not set(world.pods) & old


def test_pods_of_a_deployment_that_is_gone_are_ended() -> None:
    world = World(deployment(1))
    world.step()
    [pod] = world.pods.values()
    assert orphans([Owned.of(pod)], {UID}, NOW) == []
    [end] = orphans([Owned.of(pod)], set(), NOW)
    assert isinstance(end, Put)
    body = json.loads(end.body)
    assert body["metadata"]["deletionGracePeriodSeconds"] == 30
    assert orphans([Owned.of(pod._replace(body=end.body))], set(), NOW) == []


def test_a_pod_that_never_ran_is_removed_at_once() -> None:
    world = World(deployment(1))
    world.step()
    [pod] = world.pods.values()
    body = json.loads(pod.body)
    del body["spec"]["nodeName"]
    [end] = orphans([Owned.of(pod._replace(body=dump(body)))], set(), NOW)
    assert isinstance(end, Delete)


def test_a_long_name_is_cut_for_the_pods() -> None:
    key = Key("deployments.apps", "default", "a" * 240 + "." + "b" * 12)
    made = [write for write in reconcile(deployment(12)._replace(key=key), [], {}.get, NOW) if isinstance(write, Create)]
    assert len({write.key.name for write in made}) == 12
    assert all(names.subdomain(write.key.name) is None for write in made)


def test_values_that_only_another_version_takes_are_harmless() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "some", "maxUnavailable": "%"}}
    world = World(deployment(strategy=strategy))
    world.step()
    assert len(world.pods) == 2
    no_uuid = deployment()._replace(uid="no-uuid")
    [one, other] = [{write.uid for write in reconcile(no_uuid, [], {}.get, NOW) if isinstance(write, Create)} for _ in range(2)]
    assert one == other
    assert len(one) == 2
    many = reconcile(deployment(2**31 - 1), [], {}.get, NOW)
    assert len([write for write in many if isinstance(write, Create)]) == MAX_REPLICAS
