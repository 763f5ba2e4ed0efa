"""What the relay says to whom: one fleet, its connected nodes, and a message from one of them. Pure.

A node hears of the nodes of its group, and of those of others that contacts.py introduces it to.

A client is a connection. It is `challenged` until it proves to be a node, then a `member` of its node's group, and gone
when it is refused, replaced or cut off:

    connected -> challenged --Prove ok--> member --Forward--> member
                     | anything else        | newer connection of the same node
                     v                      v
                  Refused, gone          Refused, gone
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from edged.errors import DeniedError, ProtocolError
from edged.identity.certificates import Subject
from edged.identity.verifier import Verifier
from edged.wire import relay as wire
from edged.wire.codec import VERSION
from relay.contacts import Contacts, News
from relay.forwarder import Forwarder

REPLACED = "a newer connection of this node is here"


class Send(NamedTuple):
    """`message` goes to client `session`."""

    session: int
    message: wire.FromRelay


class Close(NamedTuple):
    """Client `session` is gone: write what waits for it, then close its connection."""

    session: int


Action = Send | Close


@dataclass(slots=True)
class _Client:
    nonce: bytes
    observed: str
    node: Subject | None = None


@dataclass(slots=True)
class Statistics:
    """What happened since the start. `dropped` and `refused` count by reason; reasons are a fixed few words."""

    frames_in: int
    datagrams: int
    bytes: int
    dropped: Counter[str]
    refused: Counter[str]


class Relay:
    """Every connected client of one relay. Sessions are numbers that the caller never uses twice, for any client.

    `names` are the hosts by which nodes dial this relay; empty: any. Without a `forwarder` nothing goes by UDP. Times are
    seconds since 1970.
    """

    def __init__(self, verifier: Verifier, names: Collection[str] = (), forwarder: Forwarder | None = None) -> None:
        self._verifier = verifier
        self._names = frozenset(name.lower() for name in names)
        self._clients: dict[int, _Client] = {}
        self._groups: dict[str, dict[str, int]] = {}
        self._contacts = Contacts()
        self.forwarder = forwarder
        self.statistics = Statistics(0, 0, 0, Counter(), Counter())

    @property
    def nodes(self) -> int:
        """How many nodes are connected and proved."""
        return sum(len(group) for group in self._groups.values())

    def admitted(self, session: int) -> str | None:
        """The name of the node that `session` has proved to be; None before that, and when it is gone."""
        client = self._clients.get(session)
        return client.node.name if client is not None and client.node is not None else None

    def connected(self, session: int, nonce: bytes, observed: str) -> list[Action]:
        """A client connected from `observed`; `nonce` is fresh randomness, wire.NONCE bytes."""
        self._clients[session] = _Client(nonce, observed)
        return [Send(session, wire.Challenge(VERSION, nonce))]

    def receive(self, session: int, frame: bytes | str, now: float) -> list[Action]:
        """One WebSocket message came from `session`. What does not parse or may not be said is dropped and counted."""
        client = self._clients.get(session)
        if client is None:
            return []  # what was on its way when it was refused
        self.statistics.frames_in += 1
        try:
            messages = wire.FROM_NODE.decode(_binary(frame))
        except ProtocolError as error:
            if client.node is None:
                return self._refuse(session, "unparsable", str(error))
            self.statistics.dropped["unparsable"] += 1
            return []
        actions: list[Action] = []
        for message in messages:
            if client.node is None:
                actions += self._prove(session, client, message, now)
                if client.node is None:
                    break
            elif isinstance(message, wire.Forward):
                actions += self._forward(session, client.node, message)
            elif isinstance(message, wire.Allot):
                actions += self._allot(session, client.node, message)
            else:
                self.statistics.dropped["unexpected"] += 1
        return actions

    def gone(self, session: int) -> list[Action]:
        """The connection of `session` ended: whoever could reach it hears of it."""
        client = self._clients.pop(session, None)
        if client is None or client.node is None:
            return []
        group = self._groups[client.node.group]
        del group[client.node.name]
        if not group:
            del self._groups[client.node.group]
        actions: list[Action] = [Send(other, wire.Absence(client.node.name)) for other in group.values()]
        return actions + self._left(session)

    def expire(self, now: float) -> list[Action]:
        """Take back the UDP ports that nobody used; `now` is the forwarder's clock."""
        pairs = self.forwarder.expire(now) if self.forwarder is not None else []
        return [action for one, other in pairs for action in self._allotted(one, other, 0)]

    def late(self, session: int) -> list[Action]:
        """The time to prove is over for `session`."""
        return [] if self.admitted(session) else self._refuse(session, "late", "no proof came in time")

    def _prove(self, session: int, client: _Client, message: wire.FromNode, now: float) -> list[Action]:
        if not isinstance(message, wire.Prove):
            return self._refuse(session, "unproved", "expected a proof first")
        if message.version != VERSION:
            return self._refuse(session, "version", wire.version_refusal(message.version))
        if self._names and message.audience.lower() not in self._names:
            return self._refuse(session, "audience", f"the proof is for {message.audience[:253]!r}, which is not this relay")
        data = wire.proof_input(client.nonce, message.audience)
        try:
            node = self._verifier.proof(message.certificate, data, message.signature, now)
        except DeniedError as error:
            return self._refuse(session, "proof", str(error))
        if node.role != "node":
            return self._refuse(session, "proof", f"{node.uri} is no node")
        return self._admit(session, client, node)

    def _admit(self, session: int, client: _Client, node: Subject) -> list[Action]:
        client.node = node
        group = self._groups.setdefault(node.group, {})
        actions: list[Action] = [Send(session, self._welcome(session, node.name, client.observed))]
        older = group.get(node.name)
        if older is not None:
            actions += self._refuse(older, "replaced", REPLACED)
            actions += self._left(older)
        for name, other in group.items():
            if name != node.name:
                actions.append(Send(session, wire.Presence(name, other)))
                actions.append(Send(other, wire.Presence(node.name, session)))
        group[node.name] = session
        return actions + self._told(self._contacts.come(session, node))

    def _welcome(self, session: int, node: str, observed: str) -> wire.Welcome:
        if self.forwarder is None:
            return wire.Welcome(VERSION, node, observed, session)
        return wire.Welcome(VERSION, node, observed, session, self.forwarder.questions, self.forwarder.join(session))

    def _left(self, session: int) -> list[Action]:
        """A proved node is gone: its ports are closed, and other groups hear of it."""
        if self.forwarder is not None:
            self.forwarder.leave(session)
        return self._told(self._contacts.go(session))

    def _told(self, news: list[News]) -> list[Action]:
        """News of nodes of other groups, for those who are still here."""
        for session, _, at, here in news:
            if not here and self.forwarder is not None:
                self.forwarder.part(session, at)
        return [
            Send(session, wire.Presence(node.name, at, node.group) if here else wire.Absence(node.name, node.group))
            for session, node, at, here in news
            if session in self._clients
        ]

    def _forward(self, session: int, sender: Subject, message: wire.Forward) -> list[Action]:
        to = self._within_reach(session, sender, message.to, message.group, len(message.datagrams))
        if to is None:
            return []
        sizes = [len(datagram) for datagram in message.datagrams]
        if not sizes or max(sizes) > wire.MAX_DATAGRAM:
            self.statistics.dropped["oversized"] += len(sizes)
            return []
        self.statistics.datagrams += len(sizes)
        self.statistics.bytes += sum(sizes)
        group = sender.group if message.group not in ("", sender.group) else ""
        return [Send(to, wire.Deliver(sender.name, message.datagrams, group))]

    def _allot(self, session: int, sender: Subject, message: wire.Allot) -> list[Action]:
        other = self._within_reach(session, sender, message.node, message.group, 1)
        if other is None:
            return []
        port = self.forwarder.allot(session, other) if self.forwarder is not None else 0
        told = self._allotted(session, other, port)
        return told if port else told[:1]

    def _allotted(self, one: int, other: int, port: int) -> list[Action]:
        """Both are told, as far as they are here."""
        nodes = [client.node for at in (one, other) if (client := self._clients.get(at)) is not None]
        if len(nodes) < 2 or nodes[0] is None or nodes[1] is None:
            return []
        abroad = nodes[0].group != nodes[1].group
        return [
            Send(to, wire.Allotted(node.name, port, node.group if abroad else ""))
            for to, node in ((one, nodes[1]), (other, nodes[0]))
        ]

    def _within_reach(self, session: int, sender: Subject, name: str, group: str, concerned: int) -> int | None:
        """The session of a node to whom `sender` may speak; None, and what that `concerned` is counted, when it may not."""
        to = self._groups.get(group or sender.group, {}).get(name)
        if to is None or to == session:
            self.statistics.dropped["absent"] += concerned
            return None
        if group not in ("", sender.group) and not self._contacts.met(session, to):
            self.statistics.dropped["unintroduced"] += concerned
            return None
        return to

    def _refuse(self, session: int, kind: str, reason: str) -> list[Action]:
        """Tell a client why, and forget it. Its place in the group is its successor's, or nobody's."""
        if self._clients.pop(session, None) is None:
            return []
        self.statistics.refused[kind] += 1
        return [Send(session, wire.Refused(reason)), Close(session)]


def _binary(frame: bytes | str) -> bytes:
    if isinstance(frame, str):
        raise ProtocolError("a text message, expected a binary one")
    return frame
