"""Five daemons on one LAN, and what happens to them, watched from outside. The tests share the group, and follow each other."""

import json
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from build.fleet import FailedError, temporary
from build.group import Group, OnLan
from build.kube import RefusedError
from build.lab import Lan
from build.story import everything, is_ready
from tests.lab.history import History, Seen, check_untouched, nodes_of

pytestmark = [pytest.mark.root, pytest.mark.tool("nft"), pytest.mark.tool("ip")]

NODES = 5
FORMED_S = 60.0  # bounds, not expectations: a busy machine is slow, not wrong
SOON_S = 30.0
REPLACED_S = 90.0  # a lease of 10 s and a toleration of 15 s must pass first
PATIENCE_S = 3600  # of pods that nothing in these tests may move
HEALED_S = 90.0  # peers that lost each other try again every 30 s at least
DAY_S = 86_400.0
MAPS = "/api/v1/namespaces/default/configmaps"
STATUS = "/edged/v1/status"
SLEEP = {"name": "main", "image": "host", "command": ["sleep", "1000000"]}


class Trial:
    """The group, its history, and what tests say about both."""

    def __init__(self, group: Group, site: OnLan, history: History) -> None:
        self.group, self.site, self.history = group, site, history
        self.nodes = group.nodes

    def get(self, node: str, path: str) -> Any:
        """What a node's API answers."""
        return self.group.local(node).get(path)

    def write(self, node: str, name: str, text: str) -> None:
        """Make a ConfigMap at a node, or change it; it is acknowledged."""
        try:
            self.group.local(node).patch(f"{MAPS}/{name}", {"data": {"text": text}})
        except RefusedError:
            self.group.local(node).create(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}}
            )

    def text(self, node: str, name: str) -> str:
        """What a node has of it; "" when it has none."""
        return next((str(one["data"]["text"]) for one in self.get(node, MAPS)["items"] if one["metadata"]["name"] == name), "")

    def reaches(self, name: str, text: str, *nodes: str, within: float = SOON_S) -> None:
        """Wait until the nodes have it."""
        for node in nodes:
            self.group.wait(f"{name} at {node}", lambda node=node: self.text(node, name) == text, within)  # type: ignore[misc]

    def linked(self, node: str) -> set[str]:
        """The peers to which a node has a link."""
        return {str(peer["node"]) for peer in self.get(node, STATUS)["peers"] if peer["path"]}

    def wait_linked(self, side: tuple[str, ...], within: float = FORMED_S) -> None:
        """Wait until each node of a side has links to the others of it, and to no one else."""
        for node in side:
            self.group.wait(f"the links of {node}", lambda node=node: self.linked(node) == set(side) - {node}, within)  # type: ignore[misc]

    def wait_led(self, side: Collection[str]) -> None:
        """Wait until all nodes of a side see that it has members and no others, and one of them holds its lease."""

        def led() -> bool:
            seen = [self.get(node, STATUS) for node in side]
            holders = {status["holder"] for status in seen}
            return all(status["members"] == sorted(side) for status in seen) and len(holders) == 1 and holders <= set(side)

        self.group.wait(f"one of {', '.join(side)} to lead them", led, HEALED_S)

    def wait_equal(self) -> None:
        """Wait until all nodes show the same objects, wholly."""
        found: dict[str, dict[str, Any]] = {}

        def equal() -> bool:
            found.update({node: everything(self.group.local(node)) for node in self.nodes})
            return all(found[node] == found[self.nodes[0]] for node in self.nodes)

        try:
            self.group.wait("all nodes to be equal", equal, HEALED_S)
        except FailedError as error:
            first, *others = found.values()
            differ = {name for other in others for name in first.keys() | other.keys() if first.get(name) != other.get(name)}
            shown = {name: [objects.get(name) for objects in found.values()] for name in sorted(differ)}
            raise FailedError(f"{error}; they differ in {json.dumps(shown, indent=1)}") from error

    def pods(self, owner: str = "") -> dict[str, str]:
        """The pods of a Deployment (of all), and the node of each, as the first node that answers shows them."""
        first = next(iter(self.history.sample().said.values()))
        return {name: pod.node for name, pod in first.items() if name.startswith(owner)}

    def said_at(self, node: str) -> dict[str, Seen]:
        """The pods as a node shows them."""
        return self.history.sample().said.get(node, {})

    def wait_moved(self, pod: str, nodes: list[str]) -> None:
        """Wait until each of `nodes` shows the pod ready at one of them."""

        def moved() -> bool:
            shown = [self.said_at(node)[pod] for node in nodes]
            return all(one.ready and one.node in nodes for one in shown)

        self.group.wait(f"{pod} to run at one of {', '.join(nodes)}", moved, REPLACED_S)

    def wait_settled(self, pod: str) -> None:
        """Wait until the pod runs where it is bound to and nowhere else, and every node shows every pod ready."""

        def settled() -> bool:
            runs = [run.node for run in self.history.sample().runs if run.pod == pod]
            return self.all_run() and runs == [self.pods()[pod]]

        self.group.wait(f"{pod} to run once", settled, HEALED_S)

    def all_run(self) -> bool:
        """Whether every node shows every pod ready."""
        shown = list(self.history.sample().said.values())
        return len(shown) == NODES and all(
            pods.keys() == shown[0].keys() and all(pod.ready for pod in pods.values()) for pods in shown
        )


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    """Five nodes that know of no other, and of a relay which has never run."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary("edged-lab"))
        site = OnLan(stack.enter_context(Lan(NODES + 1)))
        group = stack.enter_context(Group(folder, site, peers=False, relayed=True))
        group.found()
        try:
            group.start_nodes(*group.nodes)
        except FailedError:
            show(group)
            raise
        yield Trial(group, site, stack.enter_context(History(group, group.nodes)))


def show(group: Group) -> None:
    """The last words of each program: pytest shows them when the test fails."""
    for name, log in group.lines.items():
        sys.stdout.write("\n".join([f"-- {name}:", *log.read_text(errors="replace").splitlines()[-15:], ""]))


@pytest.fixture(autouse=True)
def last_words(trial: Trial) -> Iterator[None]:
    """Of each program, after each test."""
    yield
    show(trial.group)


def deployment(name: str, replicas: int, failover: str, *, patience: int | None = None) -> dict[str, Any]:
    """`patience`: for so many seconds it tolerates that a node is not seen; None: as long as edged thinks fit."""
    labels = {"app": name}
    away = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": patience}
    spec: dict[str, Any] = {"terminationGracePeriodSeconds": 1, "containers": [SLEEP]}
    template = {"metadata": {"labels": labels, "annotations": {"edged.io/failover": failover}}, "spec": spec}
    if patience is not None:
        spec["tolerations"] = [away]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def test_a_group_forms_without_a_relay_and_runs_what_it_is_told(trial: Trial) -> None:
    def formed() -> bool:
        return all(
            [node["metadata"]["name"] for node in trial.get(each, "/api/v1/nodes")["items"] if is_ready(node)]
            == list(trial.nodes)
            for each in trial.nodes
        )

    trial.group.wait("every node to be ready at every node", formed, FORMED_S)
    trial.wait_led(trial.nodes)
    client = trial.group.local("gw-03")
    client.create(deployment("web", 3, "quorum", patience=PATIENCE_S))
    client.create(deployment("kept", 2, "never"))
    trial.group.wait("five pods, ready", lambda: len(trial.pods()) == 5 and trial.all_run(), SOON_S)
    assert len(set(trial.pods("web").values())) == 3  # spread over the nodes
    trial.wait_equal()


@pytest.mark.tool("kubectl")
def test_kubectl_sees_the_same_at_two_nodes(trial: Trial) -> None:
    columns = "custom-columns=KIND:.kind,NAME:.metadata.name,UID:.metadata.uid,PHASE:.status.phase"
    shown = []
    for node in ("gw-01", "gw-05"):
        trial.group.ready(node)  # makes its kubeconfig
        shown.append(trial.group.kubectl(node, "get", "nodes,deployments,pods,configmaps", "-o", columns))
    assert shown[0] == shown[1]
    assert shown[0].count("Running") == 5


def test_what_is_written_at_one_node_is_soon_at_all(trial: Trial) -> None:
    began = time.monotonic()
    for node in trial.nodes:
        trial.write(node, f"from-{node}", "here")
    for node in trial.nodes:
        trial.reaches(f"from-{node}", "here", *trial.nodes)
    check_untouched(trial.history.since(began), trial.pods())


def test_a_lan_that_splits_takes_writes_on_both_sides_and_heals(trial: Trial) -> None:
    trial.write("gw-01", "both", "before")
    trial.reaches("both", "before", *trial.nodes)
    began, pods = time.monotonic(), trial.pods()
    left, right = trial.nodes[:2], trial.nodes[2:]
    trial.site.split(left, right)
    trial.write("gw-01", "both", "left")
    trial.write("gw-02", "only-left", "here")
    trial.write("gw-04", "only-right", "here")
    trial.write("gw-05", "both", "right")  # the later one
    trial.reaches("only-left", "here", *left)
    trial.reaches("only-right", "here", *right)
    trial.reaches("both", "left", *left)
    trial.reaches("both", "right", *right)
    trial.wait_linked(left)
    trial.wait_linked(right)
    assert trial.text("gw-03", "only-left") == trial.text("gw-01", "only-right") == ""
    trial.site.heal(*trial.nodes)
    trial.wait_equal()
    for name, text in (("both", "right"), ("only-left", "here"), ("only-right", "here")):
        trial.reaches(name, text, *trial.nodes)
    check_untouched(trial.history.since(began), pods)


def test_a_relay_that_comes_carries_what_the_lan_does_not(trial: Trial) -> None:
    began, pods = time.monotonic(), trial.pods()
    trial.group.start_relay()
    for node in trial.nodes:
        trial.group.wait(f"{node} at the relay", lambda node=node: trial.get(node, STATUS)["relay"]["connected"], HEALED_S)  # type: ignore[misc]
    trial.site.split(*((node,) for node in trial.nodes))  # every node for itself
    trial.write("gw-02", "through-the-relay", "here")
    trial.reaches("through-the-relay", "here", *trial.nodes, within=HEALED_S)
    trial.site.heal(*trial.nodes)
    trial.wait_equal()
    check_untouched(trial.history.since(began), pods)


def test_a_relay_that_goes_changes_nothing(trial: Trial) -> None:
    began, pods = time.monotonic(), trial.pods()
    trial.group.kill("relay")
    for node in trial.nodes:
        trial.write(node, "without-a-relay", node)
        trial.reaches("without-a-relay", node, *trial.nodes, within=HEALED_S)
        trial.group.wait(
            f"{node} to miss the relay", lambda node=node: not trial.get(node, STATUS)["relay"]["connected"], SOON_S
        )  # type: ignore[misc]
    trial.wait_equal()
    check_untouched(trial.history.since(began), pods)


def test_what_a_dead_node_ran_runs_elsewhere_unless_it_is_never_to(trial: Trial) -> None:
    trial.group.local("gw-02").create(deployment("moved", 1, "quorum"))
    trial.group.wait("one more pod, ready", lambda: trial.pods("moved") and trial.all_run(), SOON_S)
    began, pods = time.monotonic(), trial.pods()
    (moved, first), (kept, home) = *trial.pods("moved").items(), next(iter(trial.pods("kept").items()))
    lost = {first, home}
    for node in lost:
        trial.group.kill(node)
    trial.wait_moved(moved, [node for node in trial.nodes if node not in lost])
    trial.wait_led([node for node in trial.nodes if node not in lost])
    trial.group.start_nodes(*lost)
    trial.wait_settled(moved)
    assert trial.pods()[moved] not in lost
    trial.wait_equal()
    samples = trial.history.since(began)
    assert nodes_of(samples, kept) == {home}
    check_untouched(samples, [pod for pod in pods if pod != moved])


def test_a_lan_that_splits_for_long_runs_a_quorum_pod_on_the_side_of_most_nodes(trial: Trial) -> None:
    began, pods = time.monotonic(), trial.pods()
    ((moved, first),) = trial.pods("moved").items()
    few = (first, next(node for node in trial.nodes if node != first))
    most = [node for node in trial.nodes if node not in few]
    trial.site.split(few, most)
    trial.wait_moved(moved, most)
    trial.wait_led(few)
    trial.wait_led(most)
    second = trial.said_at(most[0])[moved].node
    for sample in trial.history.since(began):
        runs = [run.node for run in sample.runs if run.pod == moved]
        assert sum(node in most for node in runs) <= 1, f"twice on the side of most nodes: {runs}"
        assert sum(node in few for node in runs) == 1, f"the side of few nodes stopped what it ran: {runs}"
    trial.site.heal(*trial.nodes)
    trial.wait_led(trial.nodes)
    trial.wait_settled(moved)
    assert trial.pods()[moved] == second  # what runs rightly stays
    trial.wait_equal()
    check_untouched(trial.history.since(began), [pod for pod in pods if pod != moved])


def test_a_node_whose_clock_is_a_day_ahead_is_told_and_goes_on(trial: Trial) -> None:
    began, pods, group = time.monotonic(), trial.pods(), trial.group
    others = trial.nodes[:-1]
    lines = len(group.lines["gw-05"].read_text().splitlines())
    group.stop("gw-05")
    group.configure("gw-05", node={"clock_offset_s": DAY_S})
    group.start_nodes("gw-05")

    def told() -> list[str]:
        said = [json.loads(line)["message"] for line in group.lines["gw-05"].read_text().splitlines()[lines:]]
        return [message for message in said if "clock" in message]

    group.wait("gw-05 to be told of its clock", told, HEALED_S)
    # who ends a dialogue may do so before its own clock was heard
    group.wait("gw-05 to see it", lambda: trial.get("gw-05", STATUS)["clock_ahead_s"] > DAY_S - 600, HEALED_S)
    trial.wait_led(others)
    trial.write("gw-05", "of-tomorrow", "kept")
    trial.write("gw-01", "of-today", "kept")
    trial.reaches("of-today", "kept", *others)
    assert trial.text("gw-01", "of-tomorrow") == ""
    check_untouched(trial.history.since(began), pods)


def test_a_clock_that_is_set_right_again_loses_nothing(trial: Trial) -> None:
    began, pods, group = time.monotonic(), trial.pods(), trial.group
    group.stop("gw-05")
    group.configure("gw-05")
    group.start_nodes("gw-05")
    trial.reaches("of-today", "kept", *trial.nodes, within=HEALED_S)
    trial.reaches("of-tomorrow", "kept", *trial.nodes, within=HEALED_S)
    trial.wait_led(trial.nodes)
    trial.wait_equal()
    check_untouched(trial.history.since(began), pods)
