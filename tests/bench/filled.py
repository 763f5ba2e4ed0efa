"""Stores filled while their daemon is stopped, by the daemon's own code: a hundred thousand changes take seconds."""

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from edged.daemon import STORE
from edged.identity.node import Identity
from edged.kit.executor import Worker
from edged.model.objects import Key, dump
from edged.store.store import open_store
from edged.store.writes import Create
from edged.sync.clock import Clock

AT_ONCE = 100  # objects in a transaction


def fill(state_dir: Path, manifests: Sequence[dict[str, Any]]) -> float:
    """Create ConfigMaps as the node of `state_dir` would, committed in transactions of AT_ONCE; the seconds it took."""
    began = time.perf_counter()
    trio.run(_fill, state_dir, manifests)
    return time.perf_counter() - began


async def _fill(state_dir: Path, manifests: Sequence[dict[str, Any]]) -> None:
    identity, clock = Identity.load(state_dir), Clock(time.time)
    opened = open_store(
        state_dir / STORE,
        origin=identity.name,
        group=identity.group,
        sign=identity.seal,
        stamp=clock.stamp,
        executor=Worker(),
    )
    async with opened as store:
        clock.observe(store.latest_clock)
        for first in range(0, len(manifests), AT_ONCE):
            await store.write(*map(_creation, manifests[first : first + AT_ONCE]))


def _creation(manifest: dict[str, Any]) -> Create:
    uid = str(uuid.uuid4())
    metadata = {**manifest["metadata"], "uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z"}
    key = Key("configmaps", metadata["namespace"], metadata["name"])
    return Create(key, uid, dump({**manifest, "metadata": metadata}))
