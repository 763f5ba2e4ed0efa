from edged.sync.comparison import COMPARE_S, Comparison
from edged.wire.sync import Digest

N, M = b"n" * 16, b"m" * 16
OURS, THEIRS = Digest(N, b"o" * 16), Digest(N, b"t" * 16)


def test_a_digest_is_said_when_the_vectors_are_equal_and_once_in_a_while() -> None:
    made = Comparison()
    assert not made.due(N, 0.0)
    made.vector(equal=True)
    assert made.due(N, 0.0)
    assert made.made(OURS, 0.0) == (True, False)
    made.vector(equal=True)
    assert not made.due(N, COMPARE_S - 1)
    assert made.due(N, COMPARE_S)
    made.vector(equal=False)
    assert not made.due(N, COMPARE_S)


def test_what_came_beside_the_numbers_is_compared_at_once() -> None:
    made = Comparison()
    made.vector(equal=True)
    made.made(OURS, 0.0)
    made.again()
    made.vector(equal=True)
    assert made.due(N, 1.0)


def test_of_other_registers_the_peer_hears_and_is_sent_all_of_ours_once() -> None:
    made = Comparison()
    made.heard(THEIRS)
    assert made.due(N, 0.0)
    assert made.made(OURS, 0.0) == (True, True)
    made.heard(THEIRS)
    assert made.made(OURS, 1.0) == (False, False)
    made.heard(Digest(N, b"u" * 16))
    assert made.made(OURS, 2.0) == (False, True)


def test_of_other_numbers_nothing_follows() -> None:
    made = Comparison()
    made.heard(Digest(M, b"t" * 16))
    assert not made.due(N, 0.0)
    made.heard(OURS)
    assert made.made(OURS, 0.0) == (False, False)


def test_what_could_not_be_made_waits_for_the_next_vector() -> None:
    made = Comparison()
    made.vector(equal=True)
    made.heard(THEIRS)
    made.missed()
    assert not made.due(N, 0.0)
    made.vector(equal=True)
    assert made.due(N, 0.0)
