"""What happens to a simulated group: operations, and the mix of tales of which a schedule is one, made from its seed."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple


class Op(NamedTuple):
    """What happens, `after` seconds after what happened before. `who` and `which` choose a node and a thing, by their rest."""

    what: str
    after: float
    who: int
    which: int


WEIGHTS = {
    **{"write": 10, "update": 10, "delete": 5, "read": 3},
    **{"deploy": 2, "scale": 2, "undeploy": 2},
    **{"split": 3, "cut": 3, "heal": 3},
    **{"crash": 2, "stop": 1, "start": 4, "clock": 1, "month": 0, "device": 0},
}
OPS = tuple(WEIGHTS)
PAUSES = (0.0, 0.05, 0.5, 2.0, 8.0, 32.0)  # seconds; the longest is enough for pods to move
SHORT, LONG, AFTERWARDS = (3, 3, 3, 3, 0, 0), (3, 3, 3, 3, 2, 1), (1, 1, 1, 1, 2, 6)
SIZES, SIZE_WEIGHTS = (5, 6, 7, 9, 12, 20), (180, 9, 4, 3, 2, 1)  # small groups more often, as most sites are
LARGE, LARGE_OPS = 12, 6  # of large groups shorter tales

# The tales that are told, each so often: names of operations, with the seconds before each, or a random pause. `any` is any
# operation, what has a question mark happens every other time, and what has an exclamation mark to the node of the tale's
# first operation. The first two are of any operations: brief, and lengthy.
BRIEF, LENGTHY = "brief", "lengthy"
TALES = {
    BRIEF: 50,
    LENGTHY: 10,
    # long enough apart for pods to move, and for devices
    "device:8 deploy:0 deploy:0 deploy:0? split:8 any:32 any? any?": 10,
    "device:4 device:0 deploy:0 split:4 write:56 any?": 6,
    "device:8 deploy:0 deploy:0 crash:8 any:32 start:2? any?": 2,
    "device:4 device:0 deploy:0 crash:4 crash:0? write:56 any?": 4,
    "deploy:8 deploy:0 cut:8 any:2 split:8 any:32": 3,
    # a clock goes wrong, and a node with it
    "deploy:8 deploy:0 clock:8 read? write any:32 write any?": 4,
    "deploy:2 crash:2 clock start:2 read? write:32 write:32 any?": 12,
    # a node reads, and falls
    "read:2 read!? read? crash:2! start:2? read? write": 12,
    # away for long, while things are deleted
    "write:2 write:0! write:0 update!? deploy:0? split:8 delete! undeploy? delete update? month delete? heal:2 write": 5,
    "write:2 write:0! deploy:0? crash:2 delete! delete update? month any start:2 write": 4,
}


def schedule(random: Random) -> tuple[int, list[Op]]:
    """How many nodes, and what happens to them."""
    size = random.choices(SIZES, SIZE_WEIGHTS)[0]
    tale = random.choices(tuple(TALES), tuple(TALES.values()))[0]
    if tale in (BRIEF, LENGTHY):
        return size, _of_anything(random, LARGE_OPS if size >= LARGE else 10, long=tale == LENGTHY)
    told = [each.removesuffix("?") for each in tale.split() if not each.endswith("?") or random.random() < 0.5]
    ops = [_op(random, *each.removesuffix("!").partition(":")[::2]) for each in told]
    return size, [op._replace(who=ops[0].who) if each.endswith("!") else op for each, op in zip(told, ops, strict=True)]


def _of_anything(random: Random, most: int, *, long: bool) -> list[Op]:
    whats = ["deploy"] * random.randint(long, 2) + random.choices(OPS, tuple(WEIGHTS.values()), k=random.randint(3, most))
    ops: list[Op] = []
    for what in whats:
        after = ops and ops[-1].what in ("split", "crash", "stop")
        ops.append(_op(random, what, "", (AFTERWARDS if after else LONG) if long else SHORT))
    return ops


def _op(random: Random, what: str, after: str, weights: Sequence[int] = SHORT) -> Op:
    what = random.choices(OPS, tuple(WEIGHTS.values()))[0] if what == "any" else what
    pause = float(after) if after else random.choices(PAUSES, weights)[0]
    return Op(what, pause, random.getrandbits(16), random.getrandbits(16))
