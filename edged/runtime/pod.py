"""The life of a pod: from what is wished, what is observed and what is remembered to the next actions. Pure.

            +-----------------------------(restart policy, back-off)-----------------------------+
            v                                                                                    |
    no container --Run--> created --Start--> running --it ends by itself--> exited ---------------+--> Succeeded, Failed
                                               |                              ^                        (stays, for its log)
                                               +--Terminate, [grace], Kill----+--Remove--> Forget (a deleted pod)

Every decision is made again from what is there: a lost action, a restart of the daemon or of the runtime only repeats it.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from edged.model.core import (
    Container,
    ContainerState,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    PodStatus,
)
from edged.runtime.driver import Observed
from edged.runtime.status import (
    BACKING_OFF,
    CREATING,
    ENDED,
    FAILED,
    PENDING,
    RUNNING,
    SUCCEEDED,
    Place,
    Shown,
    lost,
    pod_status,
    refused,
    state_of,
    terminated,
)

FIRST_DELAY_S = 10.0  # the kubelet's back-off: none before the first restart, then 10 s doubling to 5 min,
LONGEST_DELAY_S = 300.0
STEADY_S = 600.0  # and none again for a container that ran this long
KILL_AGAIN_S = 5.0  # a killed container is gone within milliseconds, unless its runtime lost the call
KEPT = 2  # attempts kept: the newest, and the one before it for `logs --previous`
IMAGE_FAILURE, CONFIG_FAILURE, CREATE_FAILURE = "ErrImagePull", "CreateContainerConfigError", "CreateContainerError"


class Failure(msgspec.Struct, frozen=True):
    """Why no container could be made, how often in a row, and when the last time."""

    reason: str
    message: str
    tries: int
    at: float


class Stop(msgspec.Struct, frozen=True):
    """When a container was asked to end, and when it was killed last."""

    asked: float
    killed: float | None = None


class Memory(msgspec.Struct, frozen=True):
    """What the containers do not tell: the last failure to make one, and how far each is in being stopped.

    Losing it (a restart of the daemon) costs a try more, and a grace period begun anew.
    """

    failure: Failure | None = None
    stops: Mapping[str, Stop] = {}


class Run(NamedTuple):
    """Make and start the container's next attempt."""

    attempt: int
    crashes: int


class Start(NamedTuple):
    """Start a container that was made."""

    container: str


class Terminate(NamedTuple):
    """Ask a container to end."""

    container: str


class Kill(NamedTuple):
    """End a container now."""

    container: str


class Remove(NamedTuple):
    """Remove an ended container."""

    container: str


class Forget(NamedTuple):
    """Remove the pod's object from the store: all of it has ended, and no finalizer holds it."""


Action = Run | Start | Terminate | Kill | Remove | Forget


class Plan(NamedTuple):
    """What to do now, what to tell, and when to look again by itself (seconds since 1970; None: when something changes).

    `memory` holds once the actions have succeeded. `status` is None for a pod whose object is gone.
    """

    actions: tuple[Action, ...]
    status: PodStatus | None
    again: float | None
    memory: Memory


def decide(pod: Pod | None, seen: Sequence[Observed], memory: Memory, now: float, place: Place) -> Plan:
    """The next step of a pod. `seen` are all containers of its uid; `pod` is None when it is not, or no longer, ours."""
    if pod is None:
        return _clear(seen, memory, now)
    if pod.metadata.deletion_timestamp is not None:
        return _delete(pod, seen, memory, now, place)
    if pod.status.phase in ENDED:
        return _stop(seen, memory, now)._replace(status=pod.status)
    if len(pod.spec.containers) != 1:
        message = f"a pod of {len(pod.spec.containers)} containers: edged runs pods of one container so far"
        return _stop(seen, memory, now)._replace(status=refused(pod, message, place, now))
    return _live(pod, seen, memory, now, place)


def failed(memory: Memory, reason: str, message: str, now: float) -> Memory:
    """The memory after a container could not be made."""
    tries = memory.failure.tries + 1 if memory.failure else 1
    return msgspec.structs.replace(memory, failure=Failure(reason, message, tries, now))


def digest(container: Container) -> str:
    """Names the wish that a container is made from: another digest, another container."""
    return hashlib.sha256(msgspec.json.encode(container)).hexdigest()[:16]


def delay(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 10, 20, 40 ... 300."""
    return 0.0 if failures == 0 else min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures - 1, 32))


def _clear(seen: Sequence[Observed], memory: Memory, now: float) -> Plan:
    """The pod is gone: so must be its containers, each with the grace it was made with."""
    plan = _stop(seen, memory, now)
    if any(one.state == "running" for one in seen):
        return plan
    return plan._replace(actions=tuple(Remove(one.id) for one in seen))


def _delete(pod: Pod, seen: Sequence[Observed], memory: Memory, now: float, place: Place) -> Plan:
    """The pod is to end within its grace. That is counted here from when it was seen: the clock of who asked may differ."""
    newest = max(seen, key=_attempt, default=None)
    status = pod.status
    if newest is not None and len(pod.spec.containers) == 1:
        phase = RUNNING if newest.state != "exited" else pod.status.phase if pod.status.phase in ENDED else _ended(newest)
        shown = Shown(newest.identity.attempt, state_of(newest, place.runtime), _before(pod, seen, place), newest)
        status = pod_status(pod, phase, shown, place, now)
    plan = _stop(seen, memory, now, pod.metadata.deletion_grace_period_seconds)
    if not any(one.state == "running" for one in seen):
        forget = () if pod.metadata.finalizers else (Forget(),)
        plan = plan._replace(actions=(*(Remove(one.id) for one in seen), *forget))
    return plan._replace(status=status)


def _stop(seen: Iterable[Observed], memory: Memory, now: float, grace: float | None = None) -> Plan:
    """Ask the running ones of `seen` to end, kill those whose grace is over, and look again when the next one's is."""
    actions: list[Action] = []
    again: list[float] = []
    stops: dict[str, Stop] = {}
    for one in seen:
        if one.state != "running":
            continue
        stop = memory.stops.get(one.id)
        if stop is None:
            actions.append(Terminate(one.id))
            stop = Stop(now)
        deadline = stop.asked + (one.identity.grace if grace is None else grace)
        if stop.killed is not None:
            deadline = stop.killed + KILL_AGAIN_S
        if now >= deadline:
            actions.append(Kill(one.id))
            stop = Stop(stop.asked, now)
            deadline = now + KILL_AGAIN_S
        stops[one.id] = stop
        again.append(deadline)
    return Plan(tuple(actions), None, min(again, default=None), msgspec.structs.replace(memory, stops=stops))


def _live(pod: Pod, seen: Sequence[Observed], memory: Memory, now: float, place: Place) -> Plan:
    """The pod is to run: one container, the newest attempt, made from the present wish."""
    container = pod.spec.containers[0]
    mine = sorted((one for one in seen if one.identity.container == container.name), key=_attempt)
    newest = mine[-1] if mine else None
    changed = newest is not None and newest.identity.digest != digest(container)
    wrong = [one for one in seen if one is not newest or (changed and one.state != "exited")]
    stop = _stop(wrong, memory, now)
    if any(one.state == "running" for one in wrong):
        shown = Shown(_attempt(newest), state_of(newest, place.runtime), _before(pod, mine, place), newest) if newest else None
        return stop._replace(status=pod_status(pod, RUNNING, shown, place, now) if shown else pod.status)
    litter = tuple(Remove(one.id) for one in wrong if one.state == "created" or one not in mine[-KEPT:])
    if newest is None:
        plan = _first(pod, stop.memory, now, place)
    elif newest.state == "exited":
        plan = _next(pod, newest, stop.memory, now, place, changed=changed)
    else:
        shown = Shown(_attempt(newest), state_of(newest, place.runtime), _before(pod, mine, place), newest)
        phase = RUNNING if newest.state == "running" or newest.identity.attempt else PENDING
        actions = (Start(newest.id),) if newest.state == "created" and not changed else ()
        plan = Plan(actions, pod_status(pod, phase, shown, place, now), None, Memory(stops=stop.memory.stops))
    return plan._replace(actions=(*litter, *plan.actions))


def _first(pod: Pod, memory: Memory, now: float, place: Place) -> Plan:
    """There is no container: none was made yet, or the runtime lost it; the status knows which."""
    container = pod.spec.containers[0]
    told = next((one for one in pod.status.container_statuses if one.name == container.name), ContainerStatus(container.name))
    attempt, before = told.restart_count, told.last_state.terminated
    if told.container_id:
        ended = lost(told)
        if not _restarts(pod, ended.exit_code):
            shown = Shown(attempt, ContainerState(terminated=ended), before)
            phase = SUCCEEDED if ended.exit_code == 0 else FAILED
            return Plan((), pod_status(pod, phase, shown, place, now), None, memory)
        attempt, before = attempt + 1, ended
    phase = RUNNING if attempt else PENDING
    return _run(pod, phase, Shown(attempt, CREATING, before), Run(attempt, crashes=min(attempt, 1)), memory, now, place)


def _next(pod: Pod, newest: Observed, memory: Memory, now: float, place: Place, *, changed: bool) -> Plan:
    """The newest attempt has ended: the pod has too, or the next attempt comes when its back-off is over."""
    ended = terminated(newest, place.runtime)
    attempt = newest.identity.attempt
    if not changed and not _restarts(pod, ended.exit_code):
        shown = Shown(attempt, ContainerState(terminated=ended), _before(pod, [newest], place), newest)
        return Plan((), pod_status(pod, _ended(newest), shown, place, now), None, memory)
    finished = now if newest.finished is None else newest.finished
    steady = finished - (newest.started or finished) >= STEADY_S
    crashes = 0 if changed or steady else newest.identity.crashes
    shown = Shown(attempt, CREATING, ended, newest)
    if finished <= now < finished + delay(crashes):  # an end in the future means that the clock was set back: do not wait
        name = f"{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"
        message = f"back-off {delay(crashes):.0f}s restarting failed container={newest.identity.container} pod={name}"
        state = ContainerState(waiting=ContainerStateWaiting(BACKING_OFF, message))
        status = pod_status(pod, RUNNING, msgspec.structs.replace(shown, state=state), place, now)
        return Plan((), status, finished + delay(crashes), memory)
    return _run(pod, RUNNING, shown, Run(attempt + 1, crashes + 1), memory, now, place)


def _run(pod: Pod, phase: str, shown: Shown, run: Run, memory: Memory, now: float, place: Place) -> Plan:
    """Make the next attempt, unless the last try to make it failed just now."""
    failure = memory.failure
    if failure is None:
        return Plan((run,), pod_status(pod, phase, shown, place, now), None, memory)
    reason, message = failure.reason, failure.message
    if reason == IMAGE_FAILURE and failure.tries > 1:
        reason, message = "ImagePullBackOff", f'Back-off pulling image "{pod.spec.containers[0].image}": {message}'
    waiting = ContainerState(waiting=ContainerStateWaiting(reason, message))
    status = pod_status(pod, phase, msgspec.structs.replace(shown, state=waiting), place, now)
    at = failure.at + delay(failure.tries)
    return Plan((), status, at, memory) if failure.at <= now < at else Plan((run,), status, None, memory)


def _restarts(pod: Pod, code: int) -> bool:
    policy = pod.spec.restart_policy
    return policy == "Always" or (policy == "OnFailure" and code != 0)


def _ended(newest: Observed) -> str:
    return SUCCEEDED if newest.exit_code == 0 else FAILED


def _attempt(one: Observed) -> int:
    return one.identity.attempt


def _before(pod: Pod, mine: Sequence[Observed], place: Place) -> ContainerStateTerminated | None:
    """How the attempt before the newest ended: as observed, else as the status has it."""
    newest = max(mine, key=_attempt)
    earlier = [one for one in mine if one.state == "exited" and _attempt(one) < _attempt(newest)]
    if earlier:
        return terminated(max(earlier, key=_attempt), place.runtime)
    told = next((one for one in pod.status.container_statuses if one.name == newest.identity.container), None)
    return told.last_state.terminated if told else None
