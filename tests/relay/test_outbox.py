from hypothesis import given
from hypothesis import strategies as st

from edged.wire import relay as wire
from relay.outbox import BATCH_NEWS, QUEUE_BYTES, QUEUE_DATAGRAMS, Outbox


def test_what_waits_together_travels_together_news_first() -> None:
    outbox = Outbox()
    assert not outbox
    outbox.put(wire.Deliver("a", [b"1", b"2"]))
    outbox.put(wire.Deliver("a", [b"3"]))
    outbox.put(wire.Deliver("b", [b"4"]))
    outbox.put(wire.Presence("a", 7))
    assert outbox.take() == [wire.Presence("a", 7), wire.Deliver("a", [b"1", b"2", b"3"]), wire.Deliver("b", [b"4"])]
    assert not outbox
    assert outbox.take() == []


def test_newer_news_of_a_node_supersedes_older() -> None:
    outbox = Outbox()
    outbox.put(wire.Presence("a", 1))
    outbox.put(wire.Presence("b", 2))
    outbox.put(wire.Absence("a"))
    outbox.put(wire.Presence("a", 3))
    assert outbox.take() == [wire.Presence("b", 2), wire.Presence("a", 3)]


def test_a_port_is_news_of_its_own() -> None:
    outbox = Outbox()
    outbox.put(wire.Presence("a", 1))
    outbox.put(wire.Allotted("a", 20000))
    outbox.put(wire.Allotted("b", 20001))
    outbox.put(wire.Allotted("a", 0))
    assert outbox.take() == [wire.Presence("a", 1), wire.Allotted("b", 20001), wire.Allotted("a", 0)]


def test_nodes_of_one_name_in_two_groups_are_two() -> None:
    outbox = Outbox()
    outbox.put(wire.Presence("a", 1))
    outbox.put(wire.Presence("a", 2, "site-2"))
    outbox.put(wire.Absence("a", "site-2"))
    outbox.put(wire.Deliver("a", [b"1"]))
    outbox.put(wire.Deliver("a", [b"2"], "site-2"))
    news = [wire.Presence("a", 1), wire.Absence("a", "site-2")]
    assert outbox.take() == [*news, wire.Deliver("a", [b"1"]), wire.Deliver("a", [b"2"], "site-2")]


def test_when_full_the_oldest_datagrams_go() -> None:
    outbox = Outbox()
    numbers = [number.to_bytes(2, "big") for number in range(QUEUE_DATAGRAMS + 100)]
    assert outbox.put(wire.Deliver("a", numbers[:600])) == 0
    assert outbox.put(wire.Deliver("b", numbers[600:])) == 100
    assert outbox.take() == [wire.Deliver("a", numbers[100:600]), wire.Deliver("b", numbers[600:])]


def test_many_senders_of_small_datagrams_and_a_large_one_fit_a_frame() -> None:
    outbox = Outbox()
    for number in range(QUEUE_DATAGRAMS - 1):
        outbox.put(wire.Deliver("ab"[number % 2] * 63, [bytes(127)], "g" * 63))
    outbox.put(wire.Deliver("c", [bytes(wire.MAX_DATAGRAM)]))
    frames = 0
    while outbox:
        assert len(wire.FROM_RELAY.encode(outbox.take())) <= wire.MAX_WS_FRAME
        frames += 1
    assert frames == 3


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b" * 63]), st.lists(st.integers(0, wire.MAX_DATAGRAM), max_size=20)), max_size=30)
)
def test_a_batch_always_fits_a_frame_and_nothing_is_lost_uncounted(puts: list[tuple[str, list[int]]]) -> None:
    outbox = Outbox()
    dropped = 0
    for number in range(BATCH_NEWS + 10):
        outbox.put(wire.Presence(f"{'n' * 58}{number}", 2**60 + number, "g" * 63))
    for sender, sizes in puts:
        dropped += outbox.put(wire.Deliver(sender, [bytes(size) for size in sizes]))
    news, taken, held = 0, 0, 0
    while outbox:
        batch = outbox.take()
        assert len(wire.FROM_RELAY.encode(batch)) <= wire.MAX_WS_FRAME
        for message in batch:
            if isinstance(message, wire.Deliver):
                taken += len(message.datagrams)
                held += sum(map(len, message.datagrams))
            else:
                news += 1
    assert news == BATCH_NEWS + 10
    assert taken + dropped == sum(len(sizes) for _, sizes in puts)
    assert taken <= QUEUE_DATAGRAMS
    assert held <= QUEUE_BYTES
