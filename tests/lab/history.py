"""What the nodes of a group say of their pods and which containers run, sampled while something happens to the group."""

import json
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from build.fleet import Fleet
from build.kube import RefusedError
from build.processes import started
from build.story import is_ready

EVERY_S = 0.5
PODS = "/api/v1/namespaces/default/pods"


class Seen(NamedTuple):
    """A pod as one node's API shows it. `containers` are (id, restarts)."""

    uid: str
    node: str
    containers: tuple[tuple[str, int], ...]
    ready: bool


class Process(NamedTuple):
    """A container that runs, as the machine shows it: at which node, of which pod, and which process for good."""

    node: str
    pod: str
    uid: str
    pid: int
    start: int


class Sample(NamedTuple):
    """A moment (monotonic): what each node that answered says, and all that runs."""

    at: float
    said: dict[str, dict[str, Seen]]
    runs: frozenset[Process]


class History:
    """Samples of a fleet's `nodes`, one every EVERY_S by a thread of its own, while the `with` block runs."""

    def __init__(self, fleet: Fleet, nodes: Collection[str]) -> None:
        self._fleet, self._nodes = fleet, nodes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._error: BaseException | None = None
        self.samples: list[Sample] = []

    def __enter__(self) -> "History":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def since(self, moment: float) -> list[Sample]:
        """The samples after a moment, and one of now. Raises what ended the thread, if anything did."""
        if self._error is not None:
            raise self._error
        return [sample for sample in self.samples if sample.at >= moment] + [self.sample()]

    def sample(self) -> Sample:
        """One of now."""
        return Sample(time.monotonic(), said(self._fleet, self._nodes), frozenset(running(self._fleet.folder, self._nodes)))

    def _watch(self) -> None:
        try:
            while not self._ended.wait(EVERY_S):
                self.samples.append(self.sample())
        except BaseException as error:  # it is raised where somebody looks at the samples
            self._error = error


def said(fleet: Fleet, nodes: Collection[str]) -> dict[str, dict[str, Seen]]:
    """The pods of the default namespace by name as each node that answers shows them."""
    found = {}
    for node in nodes:
        with suppress(OSError, RefusedError):  # it is down, or not up yet
            found[node] = {pod["metadata"]["name"]: seen(pod) for pod in fleet.local(node).get(PODS)["items"]}
    return found


def seen(pod: dict[str, dict[str, object]]) -> Seen:
    """A pod's JSON in short."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    statuses = status.get("containerStatuses", [])
    assert isinstance(statuses, list)
    containers = tuple((one.get("containerID", ""), one.get("restartCount", 0)) for one in statuses)
    return Seen(str(metadata["uid"]), str(spec.get("nodeName", "")), containers, is_ready(pod))


def running(folder: Path, nodes: Collection[str]) -> Iterator[Process]:
    """The containers of the process driver that run, from what it keeps in the nodes' state directories."""
    for node in nodes:
        for container in (folder / node / "pods").glob("*"):
            with suppress(OSError, ValueError):  # it goes while we look
                identity = json.loads((container / "made.json").read_bytes())["identity"]
                run = json.loads((container / "run.json").read_bytes())
                if run["ticks"] is not None and started(run["pid"]) == run["ticks"]:
                    yield Process(node, identity["pod"], identity["uid"], run["pid"], run["ticks"])


def check_untouched(samples: list[Sample], pods: Collection[str]) -> None:
    """Each of `pods` was one process all the time; and whoever showed it, showed the same object, containers and restarts."""
    for pod in pods:
        processes = {frozenset(run for run in sample.runs if run.pod == pod) for sample in samples}
        assert len(processes) == 1, f"{pod} was {processes}"
        assert len(next(iter(processes))) == 1, f"{pod} was {processes}"
        shown = {one[pod]._replace(ready=True) for sample in samples for one in sample.said.values() if pod in one}
        assert len(shown) == 1, f"{pod} was shown as {shown}"


def nodes_of(samples: list[Sample], pod: str) -> set[str]:
    """Where a pod of this name ever ran."""
    return {run.node for sample in samples for run in sample.runs if run.pod == pod}
