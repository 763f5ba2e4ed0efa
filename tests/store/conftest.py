from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from edged.kit.executor import Worker
from edged.store.store import Store, open_store


@pytest.fixture
def clock() -> Iterator[int]:
    return count(1)


@pytest.fixture
async def store(tmp_path: Path, clock: Iterator[int]) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "store.db", origin="gw-a", stamp=lambda: next(clock), executor=Worker()) as opened:
        yield opened
