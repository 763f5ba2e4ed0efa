"""What was committed survives a power cut. And disks that lie fail the same test: one that cannot fail would prove nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.store.disk import Create, Sync
from tests.store.powercut import FILE, Recording, chain, cuts, in_memory, record
from tests.store.recorder import Recorder

SEEDS = range(20)
CUTS = 500  # a seed: 10,000 in all
LIES = {
    "no sync does anything": lambda name, sync: None,
    "a commit is not synced": lambda name, sync: None if name.endswith("-wal") else sync,
    "the database is not synced before its log is begun anew": lambda name, sync: None if name == FILE else sync,
    "the log's name is not synced": lambda name, sync: sync._replace(names=False),
}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_power_cut_loses_nothing_that_was_committed(seed: int) -> None:
    cut, wrong = chain(str(seed), CUTS)
    assert wrong == []
    assert cut == CUTS


@pytest.mark.parametrize("lie", LIES)
def test_a_disk_that_lies_is_found_out(lie: str) -> None:
    with in_memory() as directory:
        (directory / "live").mkdir()
        recording = record(directory / "live", lie, Recorder(directory / "live"))
        assert cuts(told(recording, LIES[lie]), lie, 100, directory / "cut") != []


def told(recording: Recording, lie: Callable[[str, Sync], Sync | None]) -> Recording:
    """The same recording on a disk that makes of each sync what `lie` makes of it."""
    names = dict(enumerate(recording.files))
    operations: list[Any] = []
    for operation in recording.operations:
        done = operation
        if isinstance(operation, Create):
            names[operation.file] = operation.name
        elif isinstance(operation, Sync):
            done = lie(names[operation.file], operation)
        operations += [] if done is None else [done]
    return recording._replace(operations=operations)
