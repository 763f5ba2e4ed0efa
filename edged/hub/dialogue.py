"""Who is at the other end of a link: the words on its first stream, each half a table of states.

The server's certificate was proved by TLS; here the client checks that it names the node that was dialled, and proves its
own key over a nonce and the server's certificate, so that the proof is worth nothing at another server.
"""

from collections.abc import Callable
from hashlib import sha256

from edged.errors import DeniedError, ProtocolError
from edged.hub.names import named
from edged.identity.certificates import Subject
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.wire.codec import VERSION
from edged.wire.peer import Accepted, Control, Hello, Nonce, Proof, proof_input

NONCE = 32  # bytes
PROBE_KEY = 32  # bytes


class Dialler:
    """The client's half. `receive` returns what to answer; when `peer` is set the dialogue is over.

    `subject` is whom the other end's certificate names.
    """

    def __init__(self, name: str, *, identity: Identity, verifier: Verifier, wall: Callable[[], float]) -> None:
        self._name = name
        self._identity, self._verifier, self._wall = identity, verifier, wall
        self._certificate = b""
        self._expected: type[Nonce | Accepted] = Nonce
        self.subject: Subject | None = None
        self.peer: str | None = None
        self.probe_key = b""

    @property
    def met(self) -> bool:
        """Whether who answered is the node that was dialled."""
        return bool(self._certificate)

    def begin(self, server_certificate: bytes) -> list[Control]:
        """TLS is done, and the server showed this certificate (DER). DeniedError when it is not the node we dialled."""
        subject = self._verifier.certificate(server_certificate, self._wall())
        check_node(subject, self._identity)
        if named(subject, self._identity) != self._name:
            raise DeniedError(f"{subject.uri} answered where node {self._name} was dialled")
        self._certificate, self.subject = server_certificate, subject
        return [Hello(VERSION)]

    def receive(self, message: Control) -> list[Control]:
        """The server said `message`. ProtocolError when it is not its turn to say that."""
        if not self._certificate or self.peer is not None or not isinstance(message, self._expected):
            raise ProtocolError(f"{type(message).__name__} out of turn")
        if isinstance(message, Nonce):
            check_version(message.version)
            if len(message.nonce) != NONCE:
                raise ProtocolError(f"a nonce of {len(message.nonce)} bytes")
            self._expected = Accepted
            signature = self._identity.sign(proof_input(message.nonce, sha256(self._certificate).digest()))
            return [Proof(self._identity.certificate_der, signature)]
        if len(message.probe_key) != PROBE_KEY:
            raise ProtocolError(f"a probe key of {len(message.probe_key)} bytes")
        self.probe_key, self.peer = message.probe_key, self._name
        return []


class Doorkeeper:
    """The server's half. `admit` may refuse a proved node with a DeniedError; `token(n)` gives n secret random bytes."""

    def __init__(
        self,
        *,
        identity: Identity,
        verifier: Verifier,
        wall: Callable[[], float],
        token: Callable[[int], bytes],
        admit: Callable[[Subject], None],
    ) -> None:
        self._identity, self._verifier, self._wall, self._token, self._admit = identity, verifier, wall, token, admit
        self._nonce = token(NONCE)
        self._expected: type[Hello | Proof] = Hello
        self.subject: Subject | None = None
        self.peer: str | None = None
        self.probe_key = b""

    def begin(self, server_certificate: bytes) -> list[Control]:
        """TLS is done; the client speaks first."""
        return []

    def receive(self, message: Control) -> list[Control]:
        """The client said `message`. ProtocolError when it is not its turn to say that, DeniedError when it is refused."""
        if self.peer is not None or not isinstance(message, self._expected):
            raise ProtocolError(f"{type(message).__name__} out of turn")
        if isinstance(message, Hello):
            check_version(message.version)
            self._expected = Proof
            return [Nonce(VERSION, self._nonce)]
        data = proof_input(self._nonce, sha256(self._identity.certificate_der).digest())
        subject = self._verifier.proof(message.certificate, data, message.signature, self._wall())
        check_node(subject, self._identity)
        self._admit(subject)
        self.probe_key, self.subject, self.peer = self._token(PROBE_KEY), subject, named(subject, self._identity)
        return [Accepted(self.probe_key)]


def check_version(version: int) -> None:
    """DeniedError when the peer protocol's version is not the one spoken here."""
    if version != VERSION:
        raise DeniedError(f"peer protocol version {version} is not spoken here, version {VERSION} is")


def check_node(subject: Subject, identity: Identity) -> None:
    """DeniedError when the certificate names no other node. What is served to one of another group is decided by stream."""
    if subject.role != "node":
        raise DeniedError(f"{subject.uri} is no node")
    if (subject.group, subject.name) == (identity.group, identity.name):
        raise DeniedError(f"{subject.uri} has our own name")
