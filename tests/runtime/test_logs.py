"""Logs as a person and a peer ask for them, of real host processes."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from edged.errors import ConflictError, InvalidError, NotFoundError
from edged.model.core import Pod
from edged.model.objects import key
from edged.runtime.driver import LogOptions
from edged.runtime.logs import ContainerLogs
from edged.store.store import Store
from edged.store.writes import Create, PutStatus
from edged.wire.codec import Frames
from edged.wire.peer import ANSWER, Logs, Opened, Refused

ASKED = Logs("default", "web", "")


class Place:
    """A pod in the store, its containers made by hand."""

    def __init__(self, store: Store, kit: Any) -> None:
        self.store, self.kit, self.driver = store, kit, kit.driver()
        self.logs = ContainerLogs(store, self.driver, node="gw-a")

    async def pod(self, *names: str, node: str = "gw-a", status: Any = None) -> None:
        containers = [{"name": name, "image": "host"} for name in names or ("c",)]
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
            "spec": {"nodeName": node, "containers": containers},
        }
        where = key(Pod, "web", "default")
        await self.store.write(Create(where, "u1", json.dumps(body).encode()))
        if status is not None:
            await self.store.write(PutStatus(where, json.dumps(status).encode()))

    async def ran(self, script: str, attempt: int = 0) -> None:
        one = await self.kit.run(self.driver, self.kit.spec(script, uid="u1", attempt=attempt))
        await self.kit.ended(self.driver, one.id)

    async def text(self, **fields: Any) -> str:
        async with aclosing(await self.logs.open(msgspec.structs.replace(ASKED, **fields))) as chunks:
            return b"".join([chunk async for chunk in chunks]).decode()


@pytest.fixture
def place(store: Store, process_kit: Any) -> Place:
    return Place(store, process_kit)


async def test_the_newest_attempt_and_the_one_before(place: Any) -> None:
    await place.pod()
    await place.ran("echo first")
    assert await place.text() == "first\n"
    assert await place.text(previous=True) == "first\n"  # it is to run again: its end is the one before
    await place.ran("echo second", 1)
    one = await place.kit.run(place.driver, place.kit.spec("echo third; sleep 60", uid="u1", attempt=2))
    assert await place.text(previous=True) == "second\n"
    await place.driver.kill(one.id)
    await place.kit.ended(place.driver, one.id)
    assert await place.text() in ("third\n", "")


async def test_of_a_pod_that_is_done_there_is_no_previous(place: Any) -> None:
    await place.pod(status={"phase": "Succeeded"})
    await place.ran("echo done")
    assert await place.text() == "done\n"
    with pytest.raises(InvalidError, match='previous terminated container "c" in pod "web" not found'):
        await place.text(previous=True)


@pytest.mark.parametrize(
    ("limit", "expected"), [(-1, "12345\n789\n"), (0, ""), (3, "123"), (10, "12345\n789\n"), (99, "12345\n789\n")]
)
async def test_the_limit_in_bytes(place: Any, limit: int, expected: str) -> None:
    await place.pod()
    await place.ran("echo 12345; echo 789")
    assert await place.text(limit=limit) == expected


async def test_tail_and_times(place: Any) -> None:
    await place.pod()
    await place.ran("echo a; echo b")
    assert await place.text(tail=1) == "b\n"
    assert (await place.text(tail=1, timestamps=True)).endswith("Z b\n")


@pytest.mark.parametrize(
    ("names", "asked", "error", "message"),
    [
        ((), {"pod": "other"}, NotFoundError, 'pods "other" not found'),
        ((), {"container": "x"}, InvalidError, "container x is not valid for pod web"),
        (("a", "b"), {}, InvalidError, r"a container name must be specified for pod web, choose one of: \[a b\]"),
        ((), {}, InvalidError, 'container "c" in pod "web" is waiting to start: ContainerCreating'),
        ((), {"previous": True}, InvalidError, 'previous terminated container "c" in pod "web" not found'),
    ],
)
async def test_refusals(place: Any, names: Any, asked: Any, error: Any, message: str) -> None:
    await place.pod(*names)
    with pytest.raises(error, match=message):
        await place.text(**asked)


async def test_a_pod_elsewhere(place: Any) -> None:
    await place.pod(node="gw-b")
    with pytest.raises(NotFoundError, match='pods "web" not found on node gw-a'):
        await place.text()


async def test_a_container_that_waits_says_for_what(place: Any) -> None:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    await place.pod(status={"phase": "Pending", "containerStatuses": [{"name": "c", "state": waiting}]})
    with pytest.raises(InvalidError, match="is waiting to start: no such image"):
        await place.text()


async def answered(stream: Any) -> tuple[Any, bytes]:
    """The answer, and the text that came with it so far."""
    frames = Frames()
    while (frame := frames.next()) is None:
        data = await stream.receive_some()
        assert data
        frames.feed(data)
    return ANSWER.decode(frame), frames.rest()


async def test_a_peer_is_served_to_the_end(place: Any) -> None:
    await place.pod()
    await place.ran("echo hello")
    ours, theirs = trio.testing.memory_stream_pair()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery, ours:
            nursery.start_soon(place.logs.serve, "gw-b", ASKED, theirs)
            answer, text = await answered(ours)
            assert answer == Opened()
            while data := await ours.receive_some():
                text += data
    assert text == b"hello\n"


async def test_a_peer_is_refused_with_the_reason(place: Any) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery, ours:
            nursery.start_soon(place.logs.serve, "gw-b", ASKED, theirs)
            assert await answered(ours) == (Refused('pods "web" not found'), b"")


@pytest.mark.parametrize("leave", ["send_eof", "aclose"])
async def test_a_peer_that_has_enough_ends_a_followed_log(place: Any, leave: str) -> None:
    await place.pod()
    await place.kit.run(place.driver, place.kit.spec("echo hello; sleep 600", uid="u1"))
    ours, theirs = trio.testing.memory_stream_pair()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery, ours:
            nursery.start_soon(place.logs.serve, "gw-b", msgspec.structs.replace(ASKED, follow=True), theirs)
            assert (await answered(ours))[0] == Opened()
            await getattr(ours, leave)()


@pytest.mark.parametrize("since", [float("nan"), float("inf"), -1.0, 1e300])
async def test_a_time_that_is_none_is_refused(place: Any, since: float) -> None:
    await place.pod()
    await place.ran("echo first")
    with pytest.raises(InvalidError, match="expected seconds since 1970"):
        await place.text(since=since)


async def test_a_runtime_that_refuses_in_the_middle_ends_the_text_and_nothing_else(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refusing(container: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        yield b"a"
        raise ConflictError("docker: can not get logs from container which is dead or marked for removal")

    await place.pod()
    await place.ran("echo first")
    monkeypatch.setattr(place.driver, "logs", refusing)
    near, far = trio.testing.memory_stream_pair()
    await place.logs.serve("gw-b", ASKED, far)
    frames = Frames()
    frames.feed(b"".join([bytes(data) async for data in near]))
    assert isinstance(ANSWER.decode(frames.next() or b""), Opened)
    assert frames.rest() == b"a"
