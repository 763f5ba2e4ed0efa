"""What every driver does: the contract, once for each of them."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
import trio

from edged.errors import AlreadyExistsError, InvalidError, NotFoundError
from edged.model.times import parse_time
from edged.runtime.driver import Driver, LogOptions

FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


async def test_version(kit: Any) -> None:
    assert (await kit.driver().version()).startswith(f"{kit.name}://")


async def test_a_container_is_created_started_and_ends(kit: Any) -> None:
    driver = kit.driver()
    spec = kit.spec("exit 3")
    made = await driver.create(spec)
    created = await kit.seen(driver, made)
    assert (created.state, created.identity, created.exit_code, created.started) == ("created", spec.identity, None, None)
    began = time.time()
    await driver.start(made)
    ended = await kit.ended(driver, made)
    assert (ended.exit_code, ended.reason, ended.identity) == (3, "", spec.identity)
    assert began - 1 <= ended.started <= ended.finished <= time.time() + 1


async def test_a_running_container_is_adopted_by_a_new_driver(kit: Any) -> None:
    running = await kit.run(kit.driver(), kit.spec(FOREVER))
    assert running.state == "running"
    again = kit.driver()
    assert await again.containers() == [running]
    await again.terminate(running.id)
    ended = await kit.ended(again, running.id)
    assert ended.exit_code == 0
    assert ended.started == running.started


async def test_an_end_between_two_drivers_is_known(kit: Any) -> None:
    running = await kit.run(kit.driver(), kit.spec("sleep 0.2; exit 7"))
    assert (await kit.ended(kit.driver(), running.id)).exit_code == 7


async def test_one_that_ends_by_a_signal(kit: Any) -> None:
    running = await kit.run(kit.driver(), kit.spec("kill -KILL $$; sleep 60" if kit.name == "process" else FOREVER))
    driver = kit.driver()
    await driver.kill(running.id)
    assert (await kit.ended(driver, running.id)).exit_code == 137


async def test_one_that_ignores_the_wish_to_end_is_killed_with_its_children(kit: Any) -> None:
    driver = kit.driver()
    running = await kit.run(driver, kit.spec("trap '' TERM; echo ready; while :; do sleep 0.1; done"))
    await until(driver, running.id, b"ready")
    await driver.terminate(running.id)
    await trio.sleep(0.3)
    assert (await kit.seen(driver, running.id)).state == "running"
    await driver.kill(running.id)
    assert (await kit.ended(driver, running.id)).exit_code == 137


async def test_stopping_what_has_ended_is_no_error(kit: Any) -> None:
    driver = kit.driver()
    running = await kit.run(driver, kit.spec("true"))
    await kit.ended(driver, running.id)
    await driver.terminate(running.id)
    await driver.kill(running.id)
    assert (await kit.seen(driver, running.id)).exit_code == 0


async def test_a_command_that_is_not_there(kit: Any) -> None:
    driver = kit.driver()
    made = await driver.create(msgspec.structs.replace(kit.spec(""), command=("/nowhere/prog",)))
    await driver.start(made)
    ended = await kit.ended(driver, made)
    assert (ended.exit_code, ended.reason) == (128, "StartError")
    assert "/nowhere/prog" in ended.message
    assert ended.finished is not None


async def test_environment_arguments_and_directory(kit: Any) -> None:
    driver = kit.driver()
    spec = kit.spec(
        "", command=("/bin/sh", "-c"), args=('echo "$A|$0|$PWD"', "zero"), env={"A": "x y $(B)"}, working_dir="/tmp"
    )
    running = await kit.run(driver, spec)
    await kit.ended(driver, running.id)
    assert await kit.text(driver, running.id) == "x y $(B)|zero|/tmp\n"


async def test_an_attempt_is_made_once(kit: Any) -> None:
    driver = kit.driver()
    spec = kit.spec("true")
    await driver.create(spec)
    with pytest.raises(AlreadyExistsError):
        await driver.create(spec)
    assert len(await driver.containers()) == 1


async def test_containers_of_one_pod_in_the_order_of_attempts(kit: Any) -> None:
    driver = kit.driver()
    for attempt in (1, 0):
        await driver.create(kit.spec("true", uid="u1", attempt=attempt))
    await driver.create(kit.spec("true", uid="u2"))
    assert [one.identity.attempt for one in await driver.containers("u1")] == [0, 1]
    assert len(await driver.containers()) == 3
    assert await driver.containers("u3") == []


async def test_another_node_is_not_seen(kit: Any) -> None:
    await kit.driver().create(kit.spec("true"))
    assert await kit.driver(f"{kit.node}-other").containers() == []


async def test_remove(kit: Any) -> None:
    driver = kit.driver()
    running = await kit.run(driver, kit.spec(FOREVER))
    with pytest.raises(InvalidError):
        await driver.remove(running.id)
    await driver.kill(running.id)
    await kit.ended(driver, running.id)
    await driver.remove(running.id)
    assert await driver.containers() == []
    await driver.remove(running.id)
    with pytest.raises(NotFoundError):
        await kit.text(driver, running.id)
    with pytest.raises(NotFoundError):
        await driver.start(running.id)


async def test_an_image_that_cannot_be_had(kit: Any) -> None:
    with pytest.raises(InvalidError, match="image"):
        await kit.driver().pull("127.0.0.1:1/no/such", "IfNotPresent")
    with pytest.raises(InvalidError, match="image"):
        await kit.driver().pull("127.0.0.1:1/no/such", "Never")


@pytest.mark.parametrize("policy", ["Always", "IfNotPresent", "Never"])
async def test_an_image_that_is_here(kit: Any, policy: str) -> None:
    await kit.driver().pull(kit.image, policy)


async def test_logs_of_one_that_ended(kit: Any) -> None:
    driver = kit.driver()
    running = await kit.run(driver, kit.spec("echo one; echo two; printf three"))
    await kit.ended(driver, running.id)
    assert await kit.text(driver, running.id) == "one\ntwo\nthree"
    assert await kit.text(driver, running.id, LogOptions(tail=2)) == "two\nthree"
    assert await kit.text(driver, running.id, LogOptions(tail=0)) == ""
    assert await kit.text(driver, running.id, LogOptions(tail=9)) == "one\ntwo\nthree"
    stamped = await kit.text(driver, running.id, LogOptions(timestamps=True, tail=3))
    first = stamped.splitlines()[0]
    assert first.endswith("Z one")
    assert len(first) == len("2026-01-01T00:00:00.123456789Z one")


async def test_logs_since_a_time(kit: Any) -> None:
    driver = kit.driver()
    running = await kit.run(driver, kit.spec("echo early; sleep 0.2; echo late"))
    await kit.ended(driver, running.id)
    stamped = (await kit.text(driver, running.id, LogOptions(timestamps=True))).splitlines()
    early, late = (parse_time(line.split()[0]) for line in stamped)
    assert early < late
    assert await kit.text(driver, running.id, LogOptions(since=(early + late) / 2)) == "late\n"
    assert await kit.text(driver, running.id, LogOptions(since=late + 60)) == ""


async def test_logs_are_followed_to_the_end(kit: Any) -> None:
    driver = kit.driver()
    running = await kit.run(driver, kit.spec("echo one; sleep 0.4; echo two >&2; sleep 0.4; echo three"))
    with trio.fail_after(60):
        assert await kit.text(driver, running.id, LogOptions(follow=True)) == "one\ntwo\nthree\n"


async def test_following_can_be_left(kit: Any) -> None:
    driver = kit.driver()
    running = await kit.run(driver, kit.spec(FOREVER.replace("do ", "do echo x; ")))
    await until(driver, running.id, b"x\nx")
    with trio.move_on_after(0.3):
        await kit.text(driver, running.id, LogOptions(follow=True, tail=0))
    assert (await kit.seen(driver, running.id)).state == "running"


async def test_an_end_is_told(kit: Any) -> None:
    driver = kit.driver()
    told, receive = trio.open_memory_channel[str | None](100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.watch, told.send_nowait)
        with trio.fail_after(60):
            assert await receive.receive() is None
            running = await kit.run(driver, kit.spec("sleep 0.3", uid="u1"))
            assert await receive.receive() == "u1"
            assert (await kit.seen(driver, running.id)).state == "exited"
        nursery.cancel_scope.cancel()


async def test_the_address(kit: Any) -> None:
    driver = kit.driver()
    spec = kit.spec(FOREVER)
    running = await kit.run(driver, spec)
    assert running.address
    assert driver.address(spec.identity.uid) in (None, running.address)
    shared = await kit.run(driver, kit.spec(FOREVER, host_network=True))
    assert shared.address == ""


async def until(driver: Driver, container: str, text: bytes) -> None:
    seen = b""
    chunks: AsyncIterator[bytes]
    with trio.fail_after(60):
        async with aclosing(driver.logs(container, LogOptions(follow=True))) as chunks:
            async for chunk in chunks:
                seen += chunk
                if text in seen:
                    return
    raise AssertionError(f"it ended after {seen!r}")
