"""Whether a register that a peer sent is taken: who signed it, may that node write it, can its stamp be. Pure."""

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Protocol

from edged.errors import DeniedError, ProtocolError
from edged.hub.names import called
from edged.identity.certificates import Subject
from edged.identity.rights import NOT_YET, YES, may_write
from edged.sync.clock import Clock
from edged.wire.sync import BODY, Place, Register, signed_bytes


class Seals(Protocol):
    """Says who sealed something: `identity.keyring.Keyring`."""

    def verify(self, signature: bytes, data: bytes) -> Subject:
        """The node that sealed `data`. DeniedError: nobody who is known."""


class Verdict(Enum):
    """What becomes of a register."""

    TAKE = "take"
    WAIT = "wait"  # it may be taken later, when something else has come or its writer's clock is right: ask again
    DENY = "deny"  # its writer may not write it, now or ever: go on without it


class Judge:
    """`standing(places)` are the registers that this node holds there."""

    def __init__(self, seals: Seals, clock: Clock, standing: Callable[[Iterable[Place]], Sequence[Register]]) -> None:
        self._seals, self._clock, self._standing = seals, clock, standing

    def verdict(self, register: Register, sender: str) -> tuple[Verdict, str]:
        """The verdict on a register that node `sender` sent, and why, when it is not taken.

        ProtocolError when it is not by the node that it names: no honest peer passes that on. A stamp in the future is
        refused to its writer only: of what others took from it when they could, this node's clock is no better judge.
        """
        try:
            subject = self._seals.verify(register.signature, signed_bytes(register))
        except DeniedError as error:
            raise ProtocolError(f"register {register.seq} of {register.origin}: {error}") from error
        if sender in (subject.name, called(subject.group, subject.name)) and not self._clock.allows(register.clock):
            return Verdict.WAIT, f"register {register.seq} of {register.origin} is stamped too far in the future"
        body = self._standing([(*register.place[:4], BODY)]) if subject.limited else ()
        why = may_write(subject, register, body[0] if body else None)
        if why == YES:
            return Verdict.TAKE, ""
        return (Verdict.WAIT, "what it is about has not come yet") if why == NOT_YET else (Verdict.DENY, why)
