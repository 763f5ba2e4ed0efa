"""The life of a pod, without a runtime: tables of single steps, and whole lives with chance in them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.model.core import Container, ContainerStatus, Pod, PodSpec, PodStatus
from edged.model.meta import ObjectMeta
from edged.runtime import pod as life
from edged.runtime.driver import Identity, Observed
from edged.runtime.pod import Forget, Kill, Memory, Plan, Remove, Run, Start, Terminate, decide, delay, digest, failed
from edged.runtime.status import Place

NOW = 1_800_000_000.0
PLACE = Place("192.0.2.7", "process", "127.64.0.9")
ONE = Container("c", image="host", command=("true",))


def make_pod(
    *containers: Container, status: PodStatus | None = None, deleted: bool = False, grace: int | None = 7, **spec: Any
) -> Pod:
    return Pod(
        api_version="v1",
        kind="Pod",
        metadata=ObjectMeta(
            name="web",
            namespace="default",
            uid="u1",
            deletion_timestamp="2026-01-01T00:00:00Z" if deleted else None,
            deletion_grace_period_seconds=grace if deleted else None,
        ),
        spec=PodSpec(containers=containers or (ONE,), node_name="gw-a", **spec),
        status=status or PodStatus(),
    )


def seen(
    state: str = "running",
    attempt: int = 0,
    *,
    code: int = 0,
    ran: float = 1.0,
    ago: float = 0.0,
    wish: Container = ONE,
    crashes: int | None = None,
    **fields: Any,
) -> Observed:
    identity = Identity("gw-a", "default", "web", "u1", "c", attempt, attempt if crashes is None else crashes, digest(wish), 30)
    ended = state == "exited"
    return Observed(
        id=f"id{attempt}",
        identity=identity,
        state=state,  # type: ignore[arg-type]
        created=NOW - ago - ran,
        started=None if state == "created" else NOW - ago - ran,
        finished=NOW - ago if ended else None,
        exit_code=code if ended else None,
        **fields,
    )


def look(pod: Pod | None, *containers: Observed, memory: Memory | None = None, now: float = NOW) -> Plan:
    return decide(pod, containers, memory or Memory(), now, PLACE)


def waiting(plan: Plan) -> tuple[str, str]:
    assert plan.status is not None
    state = plan.status.container_statuses[0].state.waiting
    assert state is not None
    return state.reason, state.message


RUNNING, CREATED = seen(), seen("created")


@pytest.mark.parametrize(
    ("containers", "policy", "actions", "phase"),
    [
        ((), "Always", (Run(0, 0),), "Pending"),
        ((CREATED,), "Always", (Start("id0"),), "Pending"),
        ((RUNNING,), "Always", (), "Running"),
        ((seen("exited"),), "Always", (Run(1, 1),), "Running"),
        ((seen("exited", code=1),), "OnFailure", (Run(1, 1),), "Running"),
        ((seen("exited"),), "OnFailure", (), "Succeeded"),
        ((seen("exited"),), "Never", (), "Succeeded"),
        ((seen("exited", code=1),), "Never", (), "Failed"),
        ((seen("exited", 4, ago=79),), "Always", (), "Running"),
        ((seen("exited", 4, ago=80),), "Always", (Run(5, 5),), "Running"),
        ((seen("exited", 4, ran=600),), "Always", (Run(5, 1),), "Running"),
        ((seen("exited", 4, ran=599),), "Always", (), "Running"),
        ((seen("exited", 4, ago=-3600),), "Always", (Run(5, 5),), "Running"),  # the clock was set back
        ((seen("exited", 0), seen("exited", 1), seen("running", 2)), "Always", (Remove("id0"),), "Running"),
        ((seen("running", 0), seen("running", 1)), "Always", (Terminate("id0"),), "Running"),
        ((seen("created", 0), seen("running", 1)), "Always", (Remove("id0"),), "Running"),
        ((seen("running", wish=Container("c", image="old")),), "Always", (Terminate("id0"),), "Running"),
        ((seen("created", wish=Container("c", image="old")),), "Always", (Remove("id0"),), "Pending"),
        ((seen("exited", 4, wish=Container("c", image="old")),), "Never", (Run(5, 1),), "Running"),
    ],
)
def test_a_step(containers: tuple[Observed, ...], policy: str, actions: tuple[life.Action, ...], phase: str) -> None:
    plan = look(make_pod(restart_policy=policy), *containers)
    assert plan.actions == actions
    assert plan.status is not None
    assert plan.status.phase == phase


def test_the_series_of_the_back_off() -> None:
    assert [delay(crashes) for crashes in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert delay(10**9) == 300


def test_a_wait_says_until_when() -> None:
    plan = look(make_pod(), seen("exited", 2, code=5, ago=4, crashes=1))
    assert plan.again == NOW + 6
    reason, message = waiting(plan)
    assert reason == "CrashLoopBackOff"
    assert message == "back-off 10s restarting failed container=c pod=web_default(u1)"
    assert plan.status is not None
    one = plan.status.container_statuses[0]
    assert one.restart_count == 2
    assert one.last_state.terminated is not None
    assert (one.last_state.terminated.exit_code, one.last_state.terminated.reason) == (5, "Error")


def test_a_deleted_pod_is_asked_then_killed_then_forgotten() -> None:
    pod = make_pod(deleted=True)
    asked = look(pod, RUNNING)
    assert asked.actions == (Terminate("id0"),)
    assert asked.again == NOW + 7
    assert asked.status is not None
    assert not asked.status.container_statuses[0].ready
    waits = look(pod, RUNNING, memory=asked.memory, now=NOW + 6.9)
    assert (waits.actions, waits.again) == ((), NOW + 7)
    killed = look(pod, RUNNING, memory=waits.memory, now=NOW + 7)
    assert killed.actions == (Kill("id0"),)
    again = look(pod, RUNNING, memory=killed.memory, now=NOW + 8)
    assert (again.actions, again.again) == ((), NOW + 7 + life.KILL_AGAIN_S)
    assert look(pod, RUNNING, memory=again.memory, now=NOW + 12).actions == (Kill("id0"),)
    done = look(pod, seen("exited", code=137), memory=killed.memory, now=NOW + 9)
    assert done.actions == (Remove("id0"), Forget())
    assert done.status is not None
    assert done.status.phase == "Failed"


def test_a_deletion_that_is_hurried() -> None:
    asked = look(make_pod(deleted=True, grace=600), RUNNING)
    assert look(make_pod(deleted=True, grace=0), RUNNING, memory=asked.memory, now=NOW + 1).actions == (Kill("id0"),)
    assert look(make_pod(deleted=True, grace=0), RUNNING).actions == (Terminate("id0"), Kill("id0"))


@pytest.mark.parametrize("containers", [(), (CREATED,), (seen("exited"),)])
def test_a_deleted_pod_that_does_not_run_is_forgotten_at_once(containers: tuple[Observed, ...]) -> None:
    plan = look(make_pod(deleted=True), *containers)
    assert plan.actions == (*(Remove(one.id) for one in containers), Forget())


def test_a_finalizer_holds_the_object_not_the_containers() -> None:
    pod = make_pod(deleted=True)
    held = msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, finalizers=("example.com/hold",)))
    assert look(held, seen("exited")).actions == (Remove("id0"),)
    assert look(held).actions == ()
    assert look(pod).actions == (Forget(),)


def test_a_container_that_never_ran_is_not_lost() -> None:
    told = look(make_pod(), CREATED).status
    assert look(make_pod(status=told)).actions == (Run(0, 0),)


def test_a_pod_that_is_gone_ends_with_its_own_grace() -> None:
    plan = look(None, RUNNING, seen("exited", 1))
    assert (plan.actions, plan.again, plan.status) == ((Terminate("id0"),), NOW + 30, None)
    assert look(None, seen("exited"), CREATED).actions == (Remove("id0"), Remove("id0"))
    assert look(None).actions == ()


def test_what_is_done_stays_done() -> None:
    pod = make_pod(status=PodStatus(phase="Failed", reason="Evicted"))
    assert look(pod).actions == ()
    assert look(pod, seen("exited")).actions == ()
    stopped = look(pod, RUNNING)
    assert stopped.actions == (Terminate("id0"),)
    assert stopped.status == pod.status


def test_failures_to_make_a_container_back_off() -> None:
    pod = make_pod()
    memory = failed(Memory(), life.IMAGE_FAILURE, "no such image", NOW)
    first = look(pod, memory=memory, now=NOW + 9)
    assert waiting(first) == ("ErrImagePull", "no such image")
    assert (first.actions, first.again) == ((), NOW + 10)
    assert look(pod, memory=memory, now=NOW + 10).actions == (Run(0, 0),)
    memory = failed(memory, life.IMAGE_FAILURE, "no such image", NOW + 10)
    second = look(pod, memory=memory, now=NOW + 11)
    assert waiting(second) == ("ImagePullBackOff", 'Back-off pulling image "host": no such image')
    assert second.again == NOW + 30
    assert look(pod, memory=memory, now=NOW + 9).actions == (Run(0, 0),)  # the clock was set back
    other = failed(Memory(), life.CONFIG_FAILURE, "no such map", NOW)
    assert waiting(look(pod, memory=other)) == ("CreateContainerConfigError", "no such map")
    assert look(pod, RUNNING, memory=memory).memory.failure is None


@pytest.mark.parametrize("number", [0, 2])
def test_only_pods_of_one_container(number: int) -> None:
    pod = make_pod()
    pod = msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, containers=(ONE,) * number))
    plan = look(pod)
    assert plan.actions == ()
    assert plan.status is not None
    assert (plan.status.phase, plan.status.reason) == ("Pending", "NotSupported")
    assert f"{number} containers" in plan.status.message


@pytest.mark.parametrize(
    ("policy", "actions", "phase"),
    [("Always", (Run(4, 1),), "Running"), ("OnFailure", (Run(4, 1),), "Running"), ("Never", (), "Failed")],
)
def test_a_container_that_the_runtime_lost(policy: str, actions: tuple[life.Action, ...], phase: str) -> None:
    told = look(make_pod(), seen("running", 3)).status
    plan = look(make_pod(status=told, restart_policy=policy))
    assert plan.actions == actions
    assert plan.status is not None
    assert plan.status.phase == phase
    one = plan.status.container_statuses[0]
    ended = one.state.terminated or one.last_state.terminated
    assert ended is not None
    assert (ended.exit_code, ended.reason) == (137, "ContainerStatusUnknown")


def test_the_count_of_restarts_survives_a_lost_container_and_a_failing_image() -> None:
    told = look(make_pod(), seen("running", 3)).status
    again = look(make_pod(status=told), memory=failed(Memory(), life.IMAGE_FAILURE, "no", NOW))
    assert again.actions == ()
    assert look(make_pod(status=again.status)).actions == (Run(4, 1),)


def test_the_attempt_before_is_told() -> None:
    plan = look(make_pod(), seen("exited", 0, code=3), seen("running", 1))
    assert plan.status is not None
    last = plan.status.container_statuses[0].last_state.terminated
    assert last is not None
    assert last.exit_code == 3
    kept = look(make_pod(status=plan.status), seen("running", 1))
    assert kept.status is not None
    assert kept.status.container_statuses[0].last_state.terminated == last


def test_containers_of_another_name_go() -> None:
    stray = seen("running", 0, wish=ONE)
    stray = msgspec.structs.replace(stray, id="x", identity=msgspec.structs.replace(stray.identity, container="old"))
    assert look(make_pod(), stray).actions == (Terminate("x"),)
    ended = msgspec.structs.replace(stray, state="exited", exit_code=0, finished=NOW)
    assert look(make_pod(), ended).actions == (Remove("x"), Run(0, 0))


class World:
    """A runtime of dictionaries: it does what it is told, loses what it is told to lose, and checks the promises."""

    def __init__(self, policy: str) -> None:
        self.pod: Pod | None = make_pod(restart_policy=policy)
        self.containers: dict[str, Observed] = {}
        self.memory, self.now, self.forgotten = Memory(), NOW, False
        self.stubborn = False
        self.attempts: list[int] = []

    def turn(self, *, lose: bool = False) -> Plan:
        """One step of the worker; `lose`: the runtime goes away in the middle of it."""
        plan = decide(
            self.pod, sorted(self.containers.values(), key=lambda c: c.identity.attempt), self.memory, self.now, PLACE
        )
        if self.pod is not None and plan.status is not None:
            self.pod = msgspec.structs.replace(self.pod, status=plan.status)
        for number, action in enumerate(plan.actions):
            if lose and number == len(plan.actions) - 1:
                return plan
            self.act(action)
            running = [one for one in self.containers.values() if one.state == "running"]
            assert len(running) <= 1, "two containers of one pod run"
        self.memory = plan.memory
        return plan

    def act(self, action: life.Action) -> None:
        match action:
            case Run(attempt, crashes):
                assert f"id{attempt}" not in self.containers, "an attempt is made twice"
                assert self.pod is not None
                wish = self.pod.spec.containers[0]
                made = seen("running", attempt, crashes=crashes, wish=wish)
                self.containers[made.id] = msgspec.structs.replace(made, created=self.now, started=self.now)
                self.attempts.append(attempt)
            case Start(name):
                self.containers[name] = msgspec.structs.replace(self.containers[name], state="running", started=self.now)
            case Terminate(name) if not self.stubborn:
                self.end(name, 143)
            case Terminate(name):
                assert name in self.containers
            case Kill(name):
                self.end(name, 137)
            case Remove(name):
                assert self.containers[name].state != "running", "a running container is removed"
                del self.containers[name]
            case Forget():
                assert not self.containers, "the pod is forgotten before its containers are"
                self.pod, self.forgotten = None, True

    def end(self, name: str, code: int) -> None:
        one = self.containers[name]
        if one.state == "running":
            self.containers[name] = msgspec.structs.replace(one, state="exited", exit_code=code, finished=self.now)

    def settle(self) -> None:
        """Turn until there is nothing to do; it must come to that."""
        for _ in range(20):
            if not self.turn().actions:
                return
        raise AssertionError("it does not come to rest")


EVENTS = st.one_of(
    st.tuples(st.just("exit"), st.sampled_from([0, 1, 137])),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 9.0, 31.0, 301.0, 700.0, -100.0])),
    st.tuples(st.just("daemon restarts"), st.none()),
    st.tuples(st.just("runtime lost"), st.none()),
    st.tuples(st.just("containers lost"), st.none()),
    st.tuples(st.just("image fails"), st.none()),
    st.tuples(st.just("wish changes"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("stubborn"), st.booleans()),
)


def happen(world: World, event: str, value: Any) -> None:
    match event:
        case "exit":
            for name in list(world.containers):
                world.end(name, value)
        case "wait":
            world.now += value
        case "daemon restarts":
            world.memory = Memory()
        case "runtime lost":
            world.turn(lose=True)
        case "containers lost":
            world.containers.clear()
        case "image fails":
            world.memory = failed(world.memory, life.IMAGE_FAILURE, "no", world.now)
        case "wish changes" if world.pod is not None:
            spec = msgspec.structs.replace(world.pod.spec, containers=(Container("c", image=value),))
            world.pod = msgspec.structs.replace(world.pod, spec=spec)
        case "stubborn":
            world.stubborn = value
    world.settle()


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, max_size=25), st.sampled_from(["Always", "OnFailure", "Never"]), st.booleans())
def test_a_life(events: list[tuple[str, Any]], policy: str, gone: bool) -> None:
    world = World(policy)
    world.settle()
    for event, value in events:
        happen(world, event, value)
    assert world.attempts == sorted(set(world.attempts)), "attempts are counted up"
    assert len(world.containers) <= life.KEPT
    for _ in range(20):
        world.settle()
        world.now += 40
    assert world.pod is not None
    running = [one for one in world.containers.values() if one.state == "running"]
    if policy == "Always":
        assert [one.identity.digest for one in running] == [digest(world.pod.spec.containers[0])], "the wish comes true"
    if gone:
        world.pod = None
    else:
        deleted = make_pod(deleted=True)
        world.pod = msgspec.structs.replace(world.pod, metadata=deleted.metadata)
    for _ in range(10):
        world.settle()
        world.now += 40
    assert not world.containers
    assert world.pod is None
    assert world.forgotten is not gone


@given(st.integers(1, 12))
def test_a_container_that_always_fails_waits_longer_each_time(times: int) -> None:
    world = World("Always")
    world.settle()
    waits = []
    for _ in range(times):
        world.end(f"id{world.attempts[-1]}", 1)
        ended = world.now
        while (plan := world.turn()).again is not None or plan.actions:
            if not plan.actions:
                assert plan.again is not None
                world.now = plan.again
        waits.append(world.now - ended)
    assert waits == [delay(crashes) for crashes in range(times)]


def test_a_status_that_does_not_change_is_equal() -> None:
    first = look(make_pod(), RUNNING).status
    second = look(make_pod(status=first), RUNNING, now=NOW + 500).status
    assert first == second
    assert ContainerStatus("c") != first
