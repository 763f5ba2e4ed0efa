from typing import Any

import pytest

from edged.model.core import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    PodSpec,
    PodStatus,
)
from edged.model.meta import Condition, ObjectMeta
from edged.model.times import format_time
from edged.runtime.driver import Identity, Observed
from edged.runtime.status import CREATING, Place, Shown, lost, pod_status, refused, state_of, terminated

NOW = 1_800_000_000.0
PLACE = Place("192.0.2.7", "docker")
IDENTITY = Identity("gw-a", "default", "web", "u1", "c")


def pod(status: PodStatus | None = None, **spec: Any) -> Pod:
    metadata = ObjectMeta(name="web", namespace="default", uid="u1")
    wish = PodSpec(containers=(Container("c", image="nginx"),), **spec)
    return Pod(api_version="v1", kind="Pod", metadata=metadata, spec=wish, status=status or PodStatus())


def seen(state: Any = "running", **fields: Any) -> Observed:
    return Observed("id0", IDENTITY, state, NOW - 9, NOW - 8, image_id="sha256:1", address="172.17.0.2", **fields)


@pytest.mark.parametrize(
    ("code", "reason", "expected", "signal"),
    [(0, "", "Completed", None), (3, "", "Error", None), (137, "OOMKilled", "OOMKilled", None), (143, "", "Error", 15)],
)
def test_how_it_ended(code: int, reason: str, expected: str, signal: int | None) -> None:
    ended = terminated(seen("exited", exit_code=code, reason=reason, message="m", finished=NOW), "docker")
    assert ended == ContainerStateTerminated(
        exit_code=code,
        signal=signal,
        reason=expected,
        message="m",
        started_at=format_time(NOW - 8),
        finished_at=format_time(NOW),
        container_id="docker://id0",
    )


def test_states() -> None:
    assert state_of(seen("created"), "docker") == CREATING
    assert state_of(seen(), "docker").running == ContainerStateRunning(format_time(NOW - 8))
    assert state_of(seen("exited", exit_code=0), "docker").terminated is not None


def test_a_running_pod() -> None:
    status = pod_status(pod(), "Running", Shown(2, state_of(seen(), "docker"), None, seen()), PLACE, NOW)
    assert (status.phase, status.pod_ip, status.host_ip, status.start_time) == (
        "Running",
        "172.17.0.2",
        "192.0.2.7",
        format_time(NOW),
    )
    (one,) = status.container_statuses
    assert (one.ready, one.started, one.restart_count, one.container_id) == (True, True, 2, "docker://id0")
    assert (one.image, one.image_id) == ("nginx", "sha256:1")


@pytest.mark.parametrize(
    ("phase", "reason"), [("Pending", "ContainersNotReady"), ("Succeeded", "PodCompleted"), ("Failed", "PodFailed")]
)
def test_a_pod_that_is_not_ready_says_why(phase: str, reason: str) -> None:
    status = pod_status(pod(), phase, Shown(0, CREATING), PLACE, NOW)
    conditions = {one.type: one for one in status.conditions}
    assert conditions["Ready"].status == conditions["ContainersReady"].status == "False"
    assert conditions["Ready"].reason == reason
    assert conditions["PodScheduled"].status == conditions["Initialized"].status == "True"
    assert status.pod_ip == ""


def test_conditions_keep_their_times_until_they_change() -> None:
    old = format_time(NOW - 100)
    before = PodStatus(
        start_time=old,
        conditions=(
            Condition("Ready", "False", last_transition_time=old),
            Condition("PodScheduled", "True", last_transition_time=old),
            Condition("example.com/gate", "True", last_transition_time=old),
        ),
    )
    status = pod_status(pod(before), "Running", Shown(0, state_of(seen(), "docker"), None, seen()), PLACE, NOW)
    times = {one.type: one.last_transition_time for one in status.conditions}
    assert times["PodScheduled"] == times["example.com/gate"] == status.start_time == old
    assert times["Ready"] == times["Initialized"] == format_time(NOW)
    assert len(status.conditions) == 5


def test_the_network_of_the_host_has_its_address() -> None:
    status = pod_status(pod(host_network=True), "Running", Shown(0, state_of(seen(), "docker"), None, seen()), PLACE, NOW)
    assert status.pod_ip == "192.0.2.7"


def test_an_address_known_beforehand() -> None:
    place = Place("192.0.2.7", "process", "127.64.0.9")
    assert pod_status(pod(), "Pending", Shown(0, CREATING), place, NOW).pod_ip == "127.64.0.9"


def test_a_refused_pod() -> None:
    status = refused(pod(), "not so", PLACE, NOW)
    assert (status.phase, status.reason, status.message) == ("Pending", "NotSupported", "not so")
    assert status.container_statuses[0].state.waiting == ContainerStateWaiting("NotSupported", "not so")


def test_a_lost_container() -> None:
    state = ContainerState(running=ContainerStateRunning("2026-01-01T00:00:00Z"))
    gone = lost(ContainerStatus("c", container_id="docker://id0", state=state))
    assert (gone.exit_code, gone.reason, gone.started_at) == (137, "ContainerStatusUnknown", "2026-01-01T00:00:00Z")
    ended = ContainerStateTerminated(exit_code=4)
    assert lost(ContainerStatus("c", state=ContainerState(terminated=ended))) == ended
