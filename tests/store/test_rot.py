"""A file that rots: bits flipped, sectors lost, the end cut off, in the database or its log.

Nothing but StorageError comes of it, the opening after that succeeds, and what is read then or passed on to a peer was
written once, as it is: what is damaged is not there, and what the log has lost is as it was before.
"""

from pathlib import Path
from random import Random

import pytest

from edged.errors import StorageError
from edged.model.objects import Key
from edged.store.store import Store
from edged.store.writes import Create, Delete, Put, PutStatus
from edged.wire.sync import BODY, STATUS
from tests.store.powercut import FILE, in_memory, opened, place, steadily
from tests.store.tap import tapped

SEEDS = range(10)
OFFSETS = 60  # a seed, for each way in which the store may have ended: 1,200 in all
WRITES = 250
KEYS = [Key("widgets", "default", f"pod-{number}") for number in range(40)]
SIZES = (2, 40, 300, 3000, 9000)
SECTOR = 512

Written = set[tuple[Key, str, str, bytes | None]]  # key, part, uid, value


@pytest.mark.parametrize("ended", ["well", "badly"])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_rots_is_not_taken_for_good(seed: int, ended: str) -> None:
    with in_memory() as directory:
        place(directory / "live", {})
        running, written = steadily(seed, make, directory / "live", Random(seed))
        files = files_of(directory / "live") if ended == "well" else running
        assert len(files) == (1 if ended == "well" else 2)
        steadily(seed, spoil, directory / "rotten", files, written, Random(seed))


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.endswith("-shm")}


async def make(directory: Path, random: Random) -> tuple[dict[str, bytes], Written]:
    """The files of a store at work, and all that was ever written. It has ended well when this returns."""
    written: Written = set()
    with tapped(directory, lambda _: None):
        async with opened(directory / FILE) as store:
            for number in range(WRITES):
                await write(store, random.choice(KEYS), str(number).encode() + b"." * random.choice(SIZES), random, written)
            files = files_of(directory)
    assert all(len(data) > 20_000 for data in files.values())
    return files, written


async def write(store: Store, key: Key, value: bytes, random: Random, written: Written) -> None:
    there = store.get(key)
    if there is None:
        uid = value.partition(b".")[0].decode()
        await store.write(Create(key, uid, value, value))
        written |= {(key, BODY, uid, value), (key, STATUS, uid, value)}
    elif random.random() < 0.2:
        await store.write(Delete(key))
        written |= {(key, BODY, there.uid, None), (key, STATUS, there.uid, None)}
    else:
        part = random.choice((BODY, STATUS))
        await store.write(Put(key, value) if part == BODY else PutStatus(key, value))
        written.add((key, part, there.uid, value))


async def spoil(directory: Path, files: dict[str, bytes], written: Written, random: Random) -> None:
    for _ in range(OFFSETS):
        name = random.choice(list(files))
        at = random.randrange(len(files[name]))
        way = random.choice(("bit", "bit", "byte", "zeros", "noise", "end"))
        place(directory, files | {name: spoilt(files[name], at, way, random)})
        try:
            await look(directory, written)
        except BaseException as failure:
            failure.add_note(f"{way} at {at} of {name}")
            raise


def spoilt(data: bytes, at: int, way: str, random: Random) -> bytes:
    """`data`, rotten from offset `at` on."""
    sector = slice(at // SECTOR * SECTOR, (at // SECTOR + 1) * SECTOR)
    found = bytearray(data)
    match way:
        case "bit":
            found[at] ^= 1 << random.randrange(8)
        case "byte":
            found[at] ^= random.randint(1, 255)
        case "zeros":
            found[sector] = bytes(len(found[sector]))
        case "noise":
            found[sector] = random.randbytes(len(found[sector]))
        case "end":
            del found[at:]
    return bytes(found)


async def look(directory: Path, written: Written) -> None:
    """Open it, twice if the damage is met only when it is open, and compare all that it has."""
    try:
        async with opened(directory / FILE) as store:
            compare(store, written)
            await store.write(Create(Key("widgets", "default", "after"), "u", b"after"))
            return
    except* StorageError:
        pass
    async with opened(directory / FILE) as store:
        compare(store, written)
        await store.write(Create(Key("widgets", "default", "after"), "u", b"after"))


def compare(store: Store, written: Written) -> None:
    for obj in [*store.list("widgets"), *filter(None, map(store.get, KEYS))]:
        assert (obj.key, BODY, obj.uid, obj.body) in written
        assert obj.status is None or (obj.key, STATUS, obj.uid, obj.status) in written
    for origin, upto in store.held().items():
        since = 0
        while since < upto:
            delta = store.delta(origin, since)
            for register in delta.registers:
                key = Key(register.resource, register.namespace, register.name)
                assert (key, register.part, register.uid, register.value) in written
            if delta.upto == since:  # what follows is damaged
                break
            since = delta.upto


def test_without_checksums_it_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.store.rows.checksum", lambda _: 0)
    with pytest.raises(ExceptionGroup) as raised:
        test_what_rots_is_not_taken_for_good(0, "badly")
    assert raised.group_contains(AssertionError)
