"""The order of a subscription's notification messages, and which of them are missing (Part 4, 5.14.1 and 7.26). Pure."""

FIRST, LAST = 1, 0xFFFFFFFF  # after the last number comes 1
MAX_MISSING = 1000  # messages that are asked for again; servers keep far fewer


class Sequence:
    """What came so far of a subscription. Numbers are those of its messages."""

    def __init__(self) -> None:
        self._next = FIRST

    def missing(self, number: int) -> list[int] | None:
        """The messages that should have come before this one; None: this one came before.

        Of more than MAX_MISSING the newest.
        """
        behind = (number - self._next) % LAST
        if behind > LAST // 2:
            return None
        return [(number - FIRST - back) % LAST + FIRST for back in range(min(behind, MAX_MISSING), 0, -1)]

    def passed(self, number: int) -> None:
        """This message and all before it came, or never will."""
        self._next = number % LAST + 1
