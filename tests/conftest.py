"""What every test may ask for: the pieces of the machine (as marks), a lab of namespaces, a fleet, a container image."""

import datetime
import functools
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from build import machine
from build.image import busybox_archive
from build.lab import Lab, possible
from edged.identity.authority import Authority
from edged.identity.bundle import join
from tests.lanes import Lanes, rank

# A busy machine is slow, not wrong; and a run depends on no run before it, nor on a checkout that may be written.
settings.register_profile("suite", deadline=None, database=None, print_blob=True)
settings.load_profile("suite")


@functools.cache
def lacks_root() -> str:
    if os.geteuid() != 0:
        return "needs root"
    return "" if possible() else "no network namespace can be made here"


@functools.cache
def lacks_docker() -> str:
    if not machine.docker_answers():
        return f"no Docker daemon answers on {machine.DOCKER_SOCKET}"
    return "" if machine.static_busybox() else "no static busybox to make an image of (busybox-static)"


@functools.cache
def lacks_tool(name: str) -> str:
    """`name` is a program, or a package of machine.NEEDS."""
    if name in machine.NEEDS:
        return "" if machine.NEEDS[name]() else f"no {name}"
    return "" if shutil.which(name) else f"no {name} on PATH"


def pytest_runtest_setup(item: pytest.Item) -> None:
    lacks = [lacks_root()] if item.get_closest_marker("root") else []
    lacks += [lacks_docker()] if item.get_closest_marker("docker") else []
    lacks += [lacks_tool(mark.args[0]) for mark in item.iter_markers("tool")]
    reason = "; ".join(filter(None, lacks))
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    elif reason:
        pytest.skip(reason)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # of a lane
        items.sort(key=lambda item: rank(item.nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return Lanes(config, log)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two sites behind NATs of their own and a public network, as namespaces (build/lab.py). Mark the test `root`."""
    with Lab() as made:
        yield made


@pytest.fixture
def fleet(tmp_path: Path) -> Callable[..., Path]:
    """`fleet("gw-a", relays=[...])` is the state directory of a joined node; nodes of one test share a fleet authority."""
    now = datetime.datetime.now(datetime.UTC)
    authority = Authority.create(tmp_path / "authority", "test", now)

    def node(name: str, *, group: str = "site", relays: list[str] | None = None) -> Path:
        state = tmp_path / name
        join(authority.issue(name, group, relays or [], now), state)
        return state

    return node


@pytest.fixture(scope="session")
def busybox_image() -> Iterator[str]:
    """A Docker image that holds busybox and its applets, made for this run and removed after it. Mark the test `docker`."""
    import docker  # noqa: PLC0415  heavy, and most runs of a part need none

    busybox = machine.static_busybox()
    assert busybox is not None
    repository, tag = "edged-test/busybox", uuid.uuid4().hex[:12]
    client = docker.from_env()
    try:
        client.api.import_image_from_data(busybox_archive(busybox), repository=repository, tag=tag)
        yield f"{repository}:{tag}"
        client.images.remove(f"{repository}:{tag}", force=True)
    finally:
        client.close()
