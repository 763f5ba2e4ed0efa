"""Whether two nodes that hold the same numbers hold the same registers, as one dialogue between them tells. Pure.

They always do, unless a node's disk went back to an older state and its numbers were used twice. Then each of the two sends
all that it holds; merging is what makes them equal.
"""

from edged.wire.sync import Digest

COMPARE_S = 600.0  # between two digests of a dialogue that found nothing: each costs a look at every register


class Comparison:
    """`vector` and `heard` when the peer speaks; `due` when a digest is to be made, and `made` says what comes of it."""

    def __init__(self) -> None:
        self._equal = False
        self._said_at = -COMPARE_S
        self._said: Digest | None = None
        self._theirs: Digest | None = None
        self._sent: tuple[Digest, Digest] | None = None

    def again(self) -> None:
        """Registers came whose numbers were held before: the next equal vectors are compared at once."""
        self._said_at = -COMPARE_S

    def vector(self, *, equal: bool) -> None:
        """The peer's vector came, and was the same as ours or not."""
        self._equal = equal

    def heard(self, digest: Digest) -> None:
        """The peer's digest came."""
        self._theirs = digest

    def waits(self, now: float) -> bool:
        """Whether a digest may be due: else our numbers need not be looked at."""
        return self._theirs is not None or (self._equal and now >= self._said_at + COMPARE_S)

    def due(self, numbers: bytes, now: float) -> bool:
        """Whether a digest of the registers is to be made, `numbers` being that of ours: a look at all of them."""
        if self._theirs is not None and self._theirs.numbers != numbers:
            self._theirs = None
        return self.waits(now)

    def missed(self) -> None:
        """None could be made: the next vectors are compared."""
        self._equal, self._theirs = False, None

    def made(self, own: Digest, now: float) -> tuple[bool, bool]:
        """Whether the peer is to hear our digest, and whether it is to be sent all registers, once for the same digests."""
        theirs, self._theirs = self._theirs, None
        differs = theirs is not None and theirs.numbers == own.numbers and theirs.registers != own.registers
        say = (self._equal and now >= self._said_at + COMPARE_S) or (differs and own != self._said)
        if say:
            self._said, self._said_at, self._equal = own, now, False
        send = differs and theirs is not None and self._sent != (own, theirs)
        if send and theirs is not None:
            self._sent = (own, theirs)
        return say, send
