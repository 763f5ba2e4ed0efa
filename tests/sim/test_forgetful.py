"""A node whose disk goes back to an older state: a card that lost what it had acknowledged, or a file system restored.

What the node wrote since its last start is nowhere lost, what others had of it before comes back to it, and all are equal.
"""

import shutil
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from edged.errors import NotFoundError
from edged.model.objects import Key

from .node import Node
from .tales import PAUSES, WEIGHTS, Op
from .world import World, play

SEEDS = (0, 3, 6, 17, 19, 23, 25, 27)  # schedules that fail when a part of what heals them is missing, among others


class Forgetful(World):
    """`keep` is a state of a node's disk, `back` the return to it. Of what was written between, nobody can say what stands."""

    def __init__(self, size: int, seed: int, folder: Path, nursery: trio.Nursery) -> None:
        super().__init__(size, seed, folder, nursery)
        self._folder = folder
        self._before: dict[str, dict[Key, set[str]]] = {}
        self._ever: dict[Key, set[str]] = defaultdict(lambda: {"gone"})
        self._doubted: set[Key] = set()
        self._went_back: set[str] = set()

    def _files(self, node: Node) -> list[Path]:
        return sorted(self._folder.glob(f"{node.name}.*"))

    async def _keep(self, node: Node, op: Op) -> None:
        """The state of a node that is off and on again."""
        ran = node.runs
        await self._crash(node, op)
        target = self._folder / f"kept-{node.name}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for file in self._files(node):
            shutil.copy(file, target)
        self._before[node.name] = {key: set(values) for key, values in self._own(node).items()}
        if ran:
            await self._switch_on(node)

    async def _back(self, node: Node, op: Op) -> None:
        kept = self._folder / f"kept-{node.name}"
        if not kept.exists():
            return
        await self._crash(node, op)
        self._went_back.add(node.name)
        for device in self._devices(node):  # readings under its old name may stay, or not
            del self._readings[device]
        for file in self._files(node):
            file.unlink()
        for file in kept.iterdir():
            shutil.copy(file, self._folder)
        own = self._own(node)
        changed = [key for key in own if own[key] != self._before[node.name].get(key)]
        self._doubted.update(changed)
        for key in changed:
            self.acknowledged[key] |= self._ever[key]  # any that was written between may have reached somebody
        await self._switch_on(node)

    def _own(self, node: Node) -> dict[Key, set[str]]:
        return {key: values for key, values in self.acknowledged.items() if key.name.startswith(f"{node.name}-")}

    async def _read(self, node: Node, op: Op) -> None:
        """As ever, until its disk went back."""
        if node.name not in self._went_back:
            await super()._read(node, op)

    async def _attempt(self, node: Node, key: Key, write: Any, value: str) -> None:
        """As ever; but a key that is in doubt may be missing here for a while, and there elsewhere."""
        self._ever[key].add(value)
        if key not in self._doubted or node.store is None:
            await super()._attempt(node, key, write, value)
            return
        self.acknowledged[key].add(value)
        try:
            await node.store.write(write())
        except NotFoundError:
            return
        self.acknowledged[key] = {value}
        self._doubted.discard(key)


def tale(random: Random) -> list[Op]:
    """Of five nodes one goes back, among all else that happens.

    But no clock jumps: when it is set back with the disk, nothing is left that tells the later of two writes.
    """
    weights = {**WEIGHTS, "clock": 0, "back": 6}
    whats = random.choices(tuple(weights), tuple(weights.values()), k=random.randint(4, 10))
    victim = random.randrange(5)
    ops = [Op("write", 0.5, victim, 0), Op("keep", 0.5, victim, 0)]
    for what in whats:
        after = random.choice(PAUSES[:5])
        who = victim if random.random() < 0.6 else random.getrandbits(16)
        ops.append(Op(what, after, who, random.getrandbits(16)))
    ops.insert(random.randint(3, len(ops)), Op("back", 0.5, victim, 0))
    ops.append(Op("write", 0.05, victim, 0))
    return ops


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_else_happens(seed: int) -> None:
    play(5, tale(Random(seed)), seed, Forgetful)


@pytest.mark.parametrize("more", [0, 1, 2, 6])
def test_what_was_written_on_both_sides_of_a_split_under_the_same_numbers(more: int) -> None:
    """gw-04 writes, all hear of it; its disk goes back while it is alone with gw-03, and it writes less, as much or more."""
    lost = [Op("write", 0.5, 4, 0), Op("update", 0.5, 4, 7), Op("write", 0.5, 4, 0)]
    apart = Op("split", 1.0, 2, 5)
    again = [Op("write", 0.05, 4, 0) for _ in range(more)]
    play(5, [Op("keep", 12.0, 4, 0), *lost, apart, Op("back", 0.5, 4, 0), *again, Op("heal", 32.0, 0, 0)], 3, Forgetful)
