"""Merge as an algebra: in whatever order and however often registers arrive, the same stand in the end."""

from collections.abc import Callable
from typing import Any

import apsw
from hypothesis import given
from hypothesis import strategies as st

from edged.model.objects import Key
from edged.store.apply import Transaction
from edged.store.origins import Origins
from edged.store.schema import prepare
from edged.store.table import Table
from edged.store.view import later, seen
from edged.store.volatile import Draft, Volatile
from edged.store.writes import Change, Create, Delete, Put, PutStatus
from edged.wire.sync import BODY, STATUS, VOLATILE, Delta, Register, signed_bytes, start_of

KEYS = [Key("widgets", "default", name) for name in ("a", "b")]


class Node:
    """A table in memory and what is volatile beside it; `do` is one committed transaction."""

    def __init__(self, name: str, start: int = 1) -> None:
        connection = apsw.Connection(":memory:")
        prepare(connection)
        self.origins = Origins(f"{name}:1", "", start)
        self.table, self.volatile, self.rv = Table(connection), Volatile(self.origins.volatile), 0

    def do(self, work: Callable[[Transaction], Any]) -> list[Change]:
        transaction = Transaction(self.table, Draft(self.volatile), self.origins, self.rv)
        work(transaction)
        transaction.end()
        transaction.hold()
        self.volatile.apply(transaction.draft.steps)
        self.rv = transaction.rv
        return transaction.changes

    def standing(self, key: Key, part: str) -> Register | None:
        placed = self.table.register(("", *key, part))
        return None if placed is None else placed.register

    def seen(self, key: Key) -> tuple[str, bytes, bytes | None] | None:
        body, status = self.table.pair(("", *key))
        obj = seen(body, later(status, self.volatile.best(("", *key, STATUS))))
        return None if obj is None else (obj.uid, obj.body, obj.status)


ORIGINS = ("/gw-a:1", "/gw-b:1", "/gw-c:1", "/gw-a:1~1", "/gw-a:1~2", "/gw-b:1~3")


@st.composite
def histories(draw: st.DrawFn) -> dict[str, list[Register]]:
    """For each origin, its registers numbered from 1; volatile ones are statuses."""
    made: dict[str, list[Register]] = {}
    for origin in ORIGINS:
        count = draw(st.integers(0, 5))
        made[origin] = [
            Register(
                *draw(st.sampled_from(KEYS)),
                STATUS if VOLATILE in origin else draw(st.sampled_from([BODY, STATUS])),
                draw(st.sampled_from(["u1", "u2"])),
                origin,
                seq,
                draw(st.integers(0, 4)),
                draw(st.none() | st.binary(max_size=3)),
            )
            for seq in range(1, count + 1)
        ]
    return made


@given(histories(), st.randoms(use_true_random=False))
def test_any_order_of_deltas_ends_in_the_same_registers(made: dict[str, list[Register]], order: Any) -> None:
    nodes = [Node("me"), Node("me")]
    for node in nodes:
        left = {origin: list(registers) for origin, registers in made.items() if registers}
        while left:
            origin = order.choice(sorted(left))
            count = order.randint(1, len(left[origin]))
            taken, left[origin] = left[origin][:count], left[origin][count:]
            delta = Delta(origin, taken[0].seq - 1, taken[-1].seq, taken)
            if VOLATILE not in origin or start_of(origin) >= start_of(node.volatile.run(origin).origin) or order.random() < 0.5:
                node.do(lambda transaction, delta=delta: transaction.merge(delta))
                node.do(lambda transaction, delta=delta: transaction.merge(delta))  # a repeat does no harm
            if not left[origin]:
                del left[origin]
    one, other = nodes
    durable = {origin: registers for origin, registers in made.items() if registers and VOLATILE not in origin}
    for key in KEYS:
        for part in (BODY, STATUS):
            assert one.standing(key, part) == other.standing(key, part)
            best = [r for rs in durable.values() for r in rs if (r.name, r.part) == (key.name, part)]
            winner = one.standing(key, part)
            assert winner is None if not best else winner is not None and not any(r.beats(winner) for r in best)
        place = ("", *key, STATUS)
        assert {origin: each.register for origin, each in one.volatile.shelf(place).items()} == {
            origin: each.register for origin, each in other.volatile.shelf(place).items()
        }
        seen = [node.seen(key) for node in nodes]
        assert seen[0] == seen[1]
    assert one.table.held() == other.table.held() == {origin: len(registers) for origin, registers in durable.items()}
    last = {origin: len(made[origin]) for origin in ("/gw-a:1~2", "/gw-b:1~3") if made[origin]}
    if not made["/gw-a:1~2"] and made["/gw-a:1~1"]:
        last["/gw-a:1~1"] = len(made["/gw-a:1~1"])
    assert one.volatile.held() == other.volatile.held() == last


def test_another_object_of_the_same_name_is_seen_as_an_end_and_a_beginning() -> None:
    node = Node("gw-a")
    changes = node.do(lambda transaction: transaction.write([Create(KEYS[0], "u1", b"1")], clock=5))
    theirs = Register(*KEYS[0], BODY, "u2", "/gw-b:1", 1, 9, b"2")
    changes += node.do(lambda transaction: transaction.merge(Delta("/gw-b:1", 0, 1, [theirs])))
    assert [(change.type, change.object.uid) for change in changes] == [("ADDED", "u1"), ("DELETED", "u1"), ("ADDED", "u2")]


def test_a_write_follows_what_its_writer_saw_whatever_the_clock_says() -> None:
    node = Node("gw-a")
    ahead = Register(*KEYS[0], BODY, "u1", "/gw-b:1", 1, 1000, b"far ahead")
    node.do(lambda transaction: transaction.merge(Delta("/gw-b:1", 0, 1, [ahead])))
    node.do(lambda transaction: transaction.write([Put(KEYS[0], b"mine")], clock=3))
    there = node.standing(KEYS[0], BODY)
    assert there is not None
    assert (there.value, there.clock, there.origin) == (b"mine", 1001, "/gw-a:1")
    node.do(lambda transaction: transaction.write([Delete(KEYS[0])], clock=4))
    assert node.seen(KEYS[0]) is None


def test_numbers_that_the_disk_forgot_are_not_used_again() -> None:
    node = Node("gw-a")
    back = Register(*KEYS[0], BODY, "u1", "/gw-a:1", 7, 1, b"mine, from a peer")
    node.do(lambda transaction: transaction.merge(Delta("/gw-a:1", 0, 7, [back])))
    node.do(lambda transaction: transaction.write([Create(KEYS[1], "u2", b"{}")], clock=9))
    assert node.table.held() == {"/gw-a:1": 8}


def test_a_start_that_the_disk_forgot_writes_durably() -> None:
    node = Node("gw-a", start=3)
    node.do(lambda transaction: transaction.write([Create(KEYS[0], "u1", b"{}")], clock=1))
    node.do(lambda transaction: transaction.merge(Delta("/gw-a:1~5", 0, 1, [])))
    node.do(lambda transaction: transaction.write([PutStatus(KEYS[0], b"s", volatile=True)], clock=2))
    assert (node.seen(KEYS[0]), node.volatile.own()) == (("u1", b"{}", b"s"), [])


def test_what_a_refused_request_did_is_undone() -> None:
    node = Node("gw-a")
    node.do(lambda transaction: transaction.write([Create(KEYS[0], "u1", b"{}")], clock=1))

    def work(transaction: Transaction) -> None:
        transaction.write([PutStatus(KEYS[0], b"one", volatile=True)], clock=2)
        mark = transaction.mark()
        transaction.write([PutStatus(KEYS[0], b"two", volatile=True)], clock=3)
        transaction.back_to(mark)
        transaction.write([PutStatus(KEYS[0], b"three", volatile=True)], clock=4)

    changes = node.do(work)
    assert [(change.rv, change.object.status) for change in changes] == [(2, b"one"), (3, b"three")]
    assert [placed.register.seq for placed in node.volatile.own()] == [2]


def test_writes_are_signed_and_what_is_merged_keeps_its_signature() -> None:
    node = Node("gw-a")
    transaction = Transaction(node.table, Draft(node.volatile), node.origins, 0, lambda data: b"over " + data)
    transaction.write([Create(KEYS[0], "u1", b"{}")], clock=1)
    there = node.standing(KEYS[0], BODY)
    assert there is not None
    assert there.signature == b"over " + signed_bytes(there)
    theirs = Register(*KEYS[1], BODY, "u2", "/gw-b:1", 1, 9, b"2", b"theirs")
    node.do(lambda transaction: transaction.merge(Delta("/gw-b:1", 0, 1, [theirs])))
    assert node.standing(KEYS[1], BODY) == theirs
