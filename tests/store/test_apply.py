"""Merge as an algebra: in whatever order and however often registers arrive, the same stand in the end."""

import apsw
from hypothesis import given
from hypothesis import strategies as st

from edged.model.objects import Key
from edged.store.apply import Transaction
from edged.store.schema import prepare
from edged.store.table import Table
from edged.store.writes import Create, Delete, Put
from edged.wire.sync import BODY, STATUS, Delta, Register

KEYS = [Key("pods", "default", name) for name in ("a", "b")]


def new_table() -> Table:
    connection = apsw.Connection(":memory:")
    prepare(connection)
    return Table(connection)


@st.composite
def histories(draw: st.DrawFn) -> dict[str, list[Register]]:
    """For each origin, its registers numbered from 1."""
    made: dict[str, list[Register]] = {}
    for origin in ("gw-a:1", "gw-b:1", "gw-c:1"):
        count = draw(st.integers(0, 5))
        made[origin] = [
            Register(
                *draw(st.sampled_from(KEYS)),
                draw(st.sampled_from([BODY, STATUS])),
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
def test_any_order_of_deltas_ends_in_the_same_registers(made: dict[str, list[Register]], order: object) -> None:
    tables = [new_table(), new_table()]
    for table in tables:
        transaction = Transaction(table, "me:1", 0, 0)
        left = {origin: list(registers) for origin, registers in made.items() if registers}
        while left:
            origin = order.choice(sorted(left))  # type: ignore[attr-defined]
            count = order.randint(1, len(left[origin]))  # type: ignore[attr-defined]
            taken, left[origin] = left[origin][:count], left[origin][count:]
            delta = Delta(origin, taken[0].seq - 1, taken[-1].seq, taken)
            transaction.merge(delta)
            transaction.merge(delta)  # a repeat does no harm
            if not left[origin]:
                del left[origin]
    one, other = tables
    for key in KEYS:
        for part in (BODY, STATUS):
            assert one.register(key, part) == other.register(key, part)
            best = [r for rs in made.values() for r in rs if (r.name, r.part) == (key.name, part)]
            winner = one.register(key, part)
            assert winner is None if not best else winner is not None and not any(r.beats(winner) for r in best)
    assert one.held() == other.held() == {origin: len(registers) for origin, registers in made.items() if registers}


def test_another_object_of_the_same_name_is_seen_as_an_end_and_a_beginning() -> None:
    table = new_table()
    transaction = Transaction(table, "gw-a:1", 0, 0)
    transaction.write([Create(KEYS[0], "u1", b"1")], clock=5)
    transaction.merge(Delta("gw-b:1", 0, 1, [Register(*KEYS[0], BODY, "u2", "gw-b:1", 1, 9, b"2")]))
    assert [(change.type, change.object.uid) for change in transaction.changes] == [
        ("ADDED", "u1"),
        ("DELETED", "u1"),
        ("ADDED", "u2"),
    ]


def test_a_write_follows_what_its_writer_saw_whatever_the_clock_says() -> None:
    table = new_table()
    transaction = Transaction(table, "gw-a:1", 0, 0)
    transaction.merge(Delta("gw-b:1", 0, 1, [Register(*KEYS[0], BODY, "u1", "gw-b:1", 1, 1000, b"far ahead")]))
    transaction.write([Put(KEYS[0], b"mine")], clock=3)
    there = table.register(KEYS[0], BODY)
    assert there is not None
    assert (there.value, there.clock, there.origin) == (b"mine", 1001, "gw-a:1")
    transaction.write([Delete(KEYS[0])], clock=4)
    assert table.get(KEYS[0]) is None


def test_numbers_that_the_disk_forgot_are_not_used_again() -> None:
    transaction = Transaction(new_table(), "gw-a:1", 0, 0)
    transaction.merge(Delta("gw-a:1", 0, 7, [Register(*KEYS[0], BODY, "u1", "gw-a:1", 7, 1, b"mine, from a peer")]))
    assert transaction.seq == 7
