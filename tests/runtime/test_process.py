"""What host processes have of their own, beyond the contract of test_driver.py."""

import errno
import json
import os
import signal
from contextlib import aclosing
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import InvalidError, StorageError, UnreachableError
from edged.runtime.driver import LogOptions
from edged.runtime.process import ProcessDriver, Run, shim_command
from edged.runtime.shim import boot_id, start_ticks

ALL = ip_network("127.64.0.0/11")
SERVICES = ip_network("127.96.0.0/16")


@given(st.text())
def test_addresses_are_of_the_pods_and_not_of_the_services(uid: str) -> None:
    address = ProcessDriver.address(None, uid)  # type: ignore[arg-type]
    assert address == ProcessDriver.address(None, uid)  # type: ignore[arg-type]
    assert ip_address(address) in ALL
    assert ip_address(address) not in SERVICES


def test_addresses_differ() -> None:
    assert len({ProcessDriver.address(None, f"uid-{number}") for number in range(100)}) == 100  # type: ignore[arg-type]


async def test_the_environment_is_clean(process_kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_DAEMON", "x")
    driver = process_kit.driver()
    one = await process_kit.run(driver, process_kit.spec("", command=("/usr/bin/env",), env={"A": "1"}))
    await process_kit.ended(driver, one.id)
    names = {line.split("=")[0] for line in (await process_kit.text(driver, one.id)).splitlines()}
    assert names == {"PATH", "A"}


async def test_no_descriptors_and_a_group_of_its_own(process_kit: Any) -> None:
    driver = process_kit.driver()
    readable, writable = os.pipe()
    os.set_inheritable(writable, True)
    one = await process_kit.run(driver, process_kit.spec("ls /proc/$$/fd; cat /proc/$$/stat; umask"))
    os.close(readable)
    os.close(writable)
    await process_kit.ended(driver, one.id)
    *descriptors, stat, umask = (await process_kit.text(driver, one.id)).splitlines()
    assert set(descriptors) == {"0", "1", "2"}
    pid, fields = stat.split()[0], stat.rpartition(")")[2].split()
    assert (fields[2], fields[3]) == (pid, pid)  # process group and session
    assert umask == "0022"


async def test_children_end_with_their_parent(process_kit: Any) -> None:
    driver = process_kit.driver()
    one = await process_kit.run(driver, process_kit.spec("sleep 600 & echo $!"))
    ended = await process_kit.ended(driver, one.id)
    assert ended.exit_code == 0
    child = int(await process_kit.text(driver, one.id))
    with trio.fail_after(60):
        while start_ticks(child) is not None:  # noqa: ASYNC110 - it is nobody's child that could wait for it
            await trio.sleep(0.01)


async def test_only_the_image_host(process_kit: Any) -> None:
    with pytest.raises(InvalidError, match='image "nginx": this node runs host processes only, image "host"'):
        await process_kit.driver().pull("nginx", "Always")


@pytest.mark.parametrize("fields", [{"command": ()}, {"command": ("a\0b",)}, {"env": {"A": "\0"}}])
async def test_what_cannot_be_a_command(process_kit: Any, fields: Any) -> None:
    with pytest.raises(InvalidError):
        await process_kit.driver().create(process_kit.spec("", **fields))
    assert await process_kit.driver().containers() == []


async def test_a_directory_that_is_not_there(process_kit: Any) -> None:
    driver = process_kit.driver()
    one = await process_kit.run(driver, process_kit.spec("true", working_dir="/nowhere"))
    ended = await process_kit.ended(driver, one.id)
    assert (ended.reason, ended.message) == ("StartError", 'chdir "/nowhere": No such file or directory')


async def test_a_uid_from_outside_is_no_path(process_kit: Any, processes: Path) -> None:
    await process_kit.driver().create(process_kit.spec("true", uid="../../x"))
    assert len(os.listdir(processes)) == 1  # noqa: PTH208
    assert len(await process_kit.driver().containers("../../x")) == 1


async def test_starting_twice_runs_once(process_kit: Any) -> None:
    driver = process_kit.driver()
    made = await driver.create(process_kit.spec("echo once; sleep 0.2"))
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(start_or_lose, driver, made)
    await process_kit.ended(driver, made)
    await driver.start(made)
    assert await process_kit.text(driver, made) == "once\n"


async def start_or_lose(driver: ProcessDriver, container: str) -> None:
    """Two starts at once: the loser finds either the winner's work done, or the lock taken."""
    try:
        await driver.start(container)
    except Exception as error:
        assert "Resource temporarily unavailable" in str(error)


def record(processes: Path, container: str) -> Any:
    return json.loads((processes / container / "run.json").read_bytes())


async def test_a_process_outlives_its_shim(process_kit: Any, processes: Path) -> None:
    driver = process_kit.driver()
    one = await process_kit.run(driver, process_kit.spec("while :; do sleep 0.05; done"))
    os.kill(record(processes, one.id)["shim_pid"], signal.SIGKILL)
    told, changes = trio.open_memory_channel[str | None](10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.watch, told.send_nowait)
        assert await changes.receive() is None
        assert (await process_kit.seen(driver, one.id)).state == "running"
        await driver.kill(one.id)
        with trio.fail_after(60):
            assert await changes.receive() == one.identity.uid
        nursery.cancel_scope.cancel()
    ended = await process_kit.ended(driver, one.id)
    assert (ended.exit_code, ended.reason) == (137, "ContainerStatusUnknown")
    assert await process_kit.seen(process_kit.driver(), one.id) == ended


async def test_an_end_between_two_looks_is_told(process_kit: Any) -> None:
    driver = process_kit.driver()
    told, changes = trio.open_memory_channel[str | None](10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.watch, told.send_nowait)
        assert await changes.receive() is None
        other = process_kit.driver()  # so that the start itself is no news to the one that watches
        one = await process_kit.run(other, process_kit.spec("exit 2"))
        await process_kit.ended(other, one.id)
        driver._started.set()
        with trio.fail_after(60):
            assert await changes.receive() == one.identity.uid
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("lie", [{"ticks": 1, "shim_ticks": 1}, {"boot": "another"}, {"ticks": None, "shim_ticks": None}])
async def test_a_recycled_number_is_not_mistaken(process_kit: Any, processes: Path, lie: Any) -> None:
    driver = process_kit.driver()
    one = await process_kit.run(driver, process_kit.spec("true"))
    await process_kit.ended(driver, one.id)
    (processes / one.id / "exit.json").unlink()
    mine = {
        "pid": os.getpid(),
        "shim_pid": os.getpid(),
        "ticks": start_ticks(os.getpid()),
        "shim_ticks": start_ticks(os.getpid()),
    }
    (processes / one.id / "run.json").write_text(json.dumps({**record(processes, one.id), **mine, **lie}))
    ended = await process_kit.seen(driver, one.id)
    assert (ended.state, ended.exit_code) == ("exited", 137)
    await driver.kill(one.id)  # were it mistaken, this test would not survive


def test_this_process_is_alive() -> None:
    ticks = start_ticks(os.getpid())
    assert Run(boot_id(), os.getpid(), ticks, 1, None, 0.0).process_alive()
    assert not Run(boot_id(), os.getpid(), ticks, 1, None, 0.0).shim_alive()


async def test_a_record_that_cannot_be_read(process_kit: Any, processes: Path) -> None:
    driver = process_kit.driver()
    made = await driver.create(process_kit.spec("true"))
    (processes / made / "made.json").write_bytes(b"{")
    with pytest.raises(StorageError, match=r"made\.json cannot be read .*: remove its directory"):
        await driver.containers()


async def test_the_log_is_bounded_and_followed_across_rotations(processes: Path, process_kit: Any) -> None:
    driver = ProcessDriver(processes, "gw-a", log_bytes=2000, log_files=3)
    one = await process_kit.run(
        driver, process_kit.spec("i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo line $i; sleep 0.001; done")
    )
    got = b""
    with trio.fail_after(60):
        async with aclosing(driver.logs(one.id, LogOptions(follow=True))) as chunks:
            async for chunk in chunks:
                got += chunk
    sizes = sorted((path.name, path.stat().st_size) for path in (processes / one.id).glob("log*"))
    assert [name for name, _ in sizes] == ["log", "log.1", "log.2"]
    assert all(size <= 2000 for _, size in sizes)
    numbers = [int(line.split()[1]) for line in got.splitlines()]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 400


async def test_the_records_are_private(process_kit: Any, processes: Path) -> None:
    one = await process_kit.run(process_kit.driver(), process_kit.spec("echo x", env={"PASSWORD": "x"}))
    await process_kit.ended(process_kit.driver(), one.id)
    assert os.stat(processes).st_mode & 0o077 == 0  # noqa: PTH116
    assert all(path.stat().st_mode & 0o077 == 0 for path in (processes / one.id).iterdir())


def test_the_packed_binary_is_its_own_shim(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(shim_command()[-1]).name == "shim.py"
    monkeypatch.setattr("sys.frozen", True, raising=False)
    assert shim_command()[1:] == ("--shim",)


def test_a_made_record_keeps_the_identity(process_kit: Any) -> None:
    spec = process_kit.spec("true")
    assert msgspec.json.decode(msgspec.json.encode(spec), type=type(spec)) == spec


async def test_a_full_disk_is_declared(process_kit: Any, processes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    driver = process_kit.driver()
    one = await process_kit.run(driver, process_kit.spec("sleep 60"))
    run = msgspec.json.decode((processes / one.id / "run.json").read_bytes(), type=Run)
    os.kill(run.shim_pid, signal.SIGKILL)
    os.killpg(run.pid, signal.SIGKILL)
    with trio.fail_after(30):
        while run.process_alive() or run.shim_alive():  # noqa: ASYNC110 - nothing else tells
            await trio.sleep(0.01)
    monkeypatch.setattr("edged.runtime.process.write_private", full)
    with pytest.raises(StorageError, match="No space left"):  # nobody saw its end: that is to be written down
        await driver.containers()
    with pytest.raises(StorageError, match="No space left"):
        await driver.create(process_kit.spec("true"))
    monkeypatch.undo()
    assert [seen.state for seen in await driver.containers()] == ["exited"]


async def test_no_process_more_is_an_outage(process_kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = process_kit.driver()
    made = await driver.create(process_kit.spec("true"))
    monkeypatch.setattr("edged.runtime.process.shim_command", lambda: ("/nonexistent/python",))
    with pytest.raises(UnreachableError, match="the shim of a process did not start: No such file"):
        await driver.start(made)
