"""A pod's status as the API shows it, out of what its node decided and observed. Pure."""

import msgspec

from edged.model.core import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    PodIP,
    PodStatus,
)
from edged.model.meta import Condition
from edged.model.times import format_time
from edged.runtime.driver import LOST_EXIT_CODE, LOST_REASON, Observed

PENDING, RUNNING, SUCCEEDED, FAILED = "Pending", "Running", "Succeeded", "Failed"
ENDED = (SUCCEEDED, FAILED)
BACKING_OFF = "CrashLoopBackOff"
CREATING = ContainerState(waiting=ContainerStateWaiting("ContainerCreating"))


class Place(msgspec.Struct, frozen=True):
    """Where a pod runs: the node's address, the driver's name, and the pod's own address where it is known beforehand."""

    host_ip: str
    runtime: str
    address: str = ""


class Shown(msgspec.Struct, frozen=True):
    """What is to be told of a pod's one container: its state, how the attempt before ended, and the container if any."""

    attempt: int
    state: ContainerState
    before: ContainerStateTerminated | None = None
    container: Observed | None = None


def state_of(container: Observed, runtime: str) -> ContainerState:
    """A container's state as it is observed."""
    if container.state == "created":
        return CREATING
    if container.state == "running":
        return ContainerState(running=ContainerStateRunning(_time(container.started)))
    return ContainerState(terminated=terminated(container, runtime))


def terminated(container: Observed, runtime: str) -> ContainerStateTerminated:
    """How a container ended."""
    code = container.exit_code or 0
    return ContainerStateTerminated(
        exit_code=code,
        signal=code - 128 if container.reason == "" and 128 < code < 128 + 65 else None,
        reason=container.reason or ("Completed" if code == 0 else "Error"),
        message=container.message,
        started_at=_time(container.started),
        finished_at=_time(container.finished),
        container_id=f"{runtime}://{container.id}",
    )


def backs_off(status: PodStatus) -> bool:
    """Whether a container of the pod waits because it ended too often."""
    waiting = (each.state.waiting for each in status.container_statuses)
    return any(each is not None and each.reason == BACKING_OFF for each in waiting)


def lost(status: ContainerStatus) -> ContainerStateTerminated:
    """How a container ended that the status knows and the runtime no longer has."""
    if status.state.terminated is not None:
        return status.state.terminated
    return ContainerStateTerminated(
        exit_code=LOST_EXIT_CODE,
        reason=LOST_REASON,
        message="The container could not be located",
        started_at=status.state.running.started_at if status.state.running else None,
        container_id=status.container_id,
    )


def pod_status(pod: Pod, phase: str, shown: Shown, place: Place, now: float) -> PodStatus:
    """The status of a pod of one container. Conditions keep their times until they change; those of others are kept."""
    container = pod.spec.containers[0]
    ready = shown.state.running is not None and pod.metadata.deletion_timestamp is None
    address = place.host_ip if pod.spec.host_network else (shown.container.address if shown.container else "") or place.address
    return PodStatus(
        phase=phase,
        host_ip=place.host_ip,
        pod_ip=address,
        pod_ips=(PodIP(address),) if address else (),
        start_time=pod.status.start_time or format_time(now),
        conditions=_conditions(pod, phase, ready=ready, now=now),
        container_statuses=(_container_status(container, shown, place, ready=ready),),
    )


def refused(pod: Pod, message: str, place: Place, now: float) -> PodStatus:
    """The status of a pod that this node cannot run: it waits, and says why."""
    waiting = ContainerState(waiting=ContainerStateWaiting("NotSupported", message))
    return PodStatus(
        phase=PENDING,
        reason="NotSupported",
        message=message,
        host_ip=place.host_ip,
        start_time=pod.status.start_time or format_time(now),
        conditions=_conditions(pod, PENDING, ready=False, now=now),
        container_statuses=tuple(ContainerStatus(one.name, image=one.image, state=waiting) for one in pod.spec.containers),
    )


def _container_status(container: Container, shown: Shown, place: Place, *, ready: bool) -> ContainerStatus:
    seen = shown.container
    return ContainerStatus(
        name=container.name,
        ready=ready,
        started=shown.state.running is not None,
        restart_count=shown.attempt,
        image=container.image,
        image_id=seen.image_id if seen else "",
        container_id=f"{place.runtime}://{seen.id}" if seen and seen.state != "created" else "",
        state=shown.state,
        last_state=ContainerState(terminated=shown.before),
    )


def _conditions(pod: Pod, phase: str, *, ready: bool, now: float) -> tuple[Condition, ...]:
    reason = message = ""
    if not ready:
        names = " ".join(container.name for container in pod.spec.containers)
        reason = {SUCCEEDED: "PodCompleted", FAILED: "PodFailed"}.get(phase, "ContainersNotReady")
        message = "" if phase in ENDED else f"containers with unready status: [{names}]"
    truth = "True" if ready else "False"
    ours = (
        Condition("Initialized", "True"),
        Condition("Ready", truth, reason, message),
        Condition("ContainersReady", truth, reason, message),
        Condition("PodScheduled", "True"),
    )
    before = {condition.type: condition for condition in pod.status.conditions}
    others = tuple(condition for condition in pod.status.conditions if condition.type not in {one.type for one in ours})
    return tuple(_timed(one, before.get(one.type), now) for one in ours) + others


def _timed(condition: Condition, before: Condition | None, now: float) -> Condition:
    same = before is not None and before.status == condition.status and before.last_transition_time is not None
    since = before.last_transition_time if before is not None and same else format_time(now)
    return msgspec.structs.replace(condition, last_transition_time=since)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else format_time(seconds)
