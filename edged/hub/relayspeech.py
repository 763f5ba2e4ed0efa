"""The node's half of the relay protocol, one WebSocket long: frames in, frames out, and what the relay told. Pure.

Inside the node a node of another group is called GROUP/NAME (names.py), in what is told as in what waits to be forwarded.
"""

from dataclasses import dataclass, field
from itertools import groupby

import msgspec

from edged.errors import DeniedError, ProtocolError
from edged.hub.names import called, parted
from edged.identity.node import Identity
from edged.wire.codec import VERSION
from edged.wire.relay import (
    FROM_NODE,
    FROM_RELAY,
    NONCE,
    Absence,
    Allot,
    Allotted,
    Challenge,
    Deliver,
    Forward,
    FromNode,
    Presence,
    Prove,
    Refused,
    Welcome,
    proof_input,
    version_refusal,
)

FORWARD_BYTES = 128 << 10  # bytes of datagrams in one frame, half of what a frame may hold: a list costs some bytes an item
Waiting = tuple[str, bytes | None]  # the node that a datagram is for, and the datagram; None: the wish for a UDP port instead


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The relay knows us, and sees us at `observed`. The rest is as in wire.relay.Welcome."""

    observed: str
    session: int = 0
    udp: tuple[int, ...] = ()
    udp_key: bytes = field(default=b"", repr=False)


Told = Welcomed | Presence | Absence | Deliver | Allotted


class RelaySpeech:
    """Proves the node to a relay that was dialled as `audience`, then takes what it says."""

    def __init__(self, identity: Identity, audience: str) -> None:
        self._identity, self._audience = identity, audience
        self._expected: type[Challenge | Welcome] | None = Challenge

    def receive(self, frame: bytes) -> tuple[list[FromNode], list[Told]]:
        """One frame: what to answer, and what was told.

        DeniedError when the relay refuses us or is too old, ProtocolError for what a relay does not say at this point.
        """
        answers: list[FromNode] = []
        told: list[Told] = []
        for message in FROM_RELAY.decode(frame):
            if isinstance(message, Refused):
                raise DeniedError(f"the relay refuses us: {message.reason}")
            if self._expected is not None and not isinstance(message, self._expected):
                raise ProtocolError(f"{type(message).__name__} before {self._expected.__name__}")
            if isinstance(message, Challenge):
                answers.append(self._prove(message))
            elif isinstance(message, Welcome):
                told.append(self._welcome(message))
            else:
                told.append(_named(message))
        return answers, told

    def _prove(self, challenge: Challenge) -> Prove:
        if self._expected is not Challenge:
            raise ProtocolError("a second challenge")
        if challenge.version < VERSION:
            raise DeniedError(f"the relay is too old: {version_refusal(challenge.version)}")
        if len(challenge.nonce) != NONCE:
            raise ProtocolError(f"a nonce of {len(challenge.nonce)} bytes")
        self._expected = Welcome
        signature = self._identity.sign(proof_input(challenge.nonce, self._audience))
        return Prove(VERSION, self._identity.certificate_der, self._audience, signature)

    def _welcome(self, welcome: Welcome) -> Welcomed:
        if self._expected is not Welcome:
            raise ProtocolError("a second welcome")
        self._expected = None
        return Welcomed(welcome.observed, welcome.session, tuple(welcome.udp), welcome.udp_key)


def forwards(waiting: list[Waiting]) -> list[bytes]:
    """Frames that carry datagrams and wishes, in order: those that wait together travel together."""
    frames: list[bytes] = []
    batch: list[Waiting] = []
    size = 0
    for item in waiting:
        length = len(item[1] or b"")
        if batch and size + length > FORWARD_BYTES:
            frames.append(_forward(batch))
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        frames.append(_forward(batch))
    return frames


def _forward(batch: list[Waiting]) -> bytes:
    said: list[FromNode] = []
    for node, run in groupby(batch, key=lambda item: item[0]):
        items = [data for _, data in run]
        group, name = parted(node)
        datagrams = [data for data in items if data is not None]
        if len(datagrams) < len(items):
            said.append(Allot(name, group))
        if datagrams:
            said.append(Forward(name, datagrams, group))
    return FROM_NODE.encode(said)


def _named(message: Presence | Absence | Deliver | Allotted) -> Presence | Absence | Deliver | Allotted:
    """The message with the name by which its node goes in here."""
    if not message.group:
        return message
    if isinstance(message, Deliver):
        return msgspec.structs.replace(message, sender=called(message.group, message.sender))
    return msgspec.structs.replace(message, node=called(message.group, message.node))
