"""The certificates whose signatures this node can check: one for every key that signed something it holds."""

from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from edged.errors import DeniedError
from edged.identity.certificates import Subject
from edged.identity.verifier import Verifier

KEY_ID = 8  # bytes
MAX_KEYS = 16_384  # certificates, 12 MB: 1,000 groups of which sixteen nodes each wrote what is the fleet's
_ECDSA = ec.ECDSA(hashes.SHA256())


class _Known(NamedTuple):
    key: ec.EllipticCurvePublicKey
    subject: Subject


def key_id(certificate: bytes) -> bytes:
    """Names a certificate (DER) in a signature."""
    return sha256(b"edged key id\x00" + certificate).digest()[:KEY_ID]


class Keyring:
    """Certificates by their ids. A certificate that ran out still proves what was signed while it was valid.

    `stored` are those that were kept, {id: DER}; they are checked when they are first needed.
    """

    def __init__(self, verifier: Verifier, stored: Mapping[bytes, bytes] | None = None) -> None:
        self._verifier = verifier
        self._der = dict(stored or {})
        self._known: dict[bytes, _Known] = {}
        self._names = {subject.name for subject in map(self.subject, tuple(self._der)) if subject is not None}

    @property
    def ids(self) -> frozenset[bytes]:
        """The certificates that are here."""
        return frozenset(self._der)

    def certificate(self, id_: bytes) -> bytes | None:
        """A certificate (DER)."""
        return self._der.get(id_)

    def knows(self, node: str) -> bool:
        """Whether a certificate of a node of this name is here."""
        return node in self._names

    def learn(self, certificate: bytes) -> bytes:
        """Take in a certificate of this fleet; its id. DeniedError when it is not one, or when there are too many."""
        id_ = key_id(certificate)
        if id_ not in self._known:
            if id_ not in self._der and len(self._der) >= MAX_KEYS:
                raise DeniedError(f"a certificate more than the {MAX_KEYS} that are kept")
            self._known[id_] = self._checked(certificate)
            self._der[id_] = certificate
            self._names.add(self._known[id_].subject.name)
        return id_

    def subject(self, id_: bytes) -> Subject | None:
        """Whom a certificate names; None for one that is not here, or is damaged."""
        known = self._load(id_)
        return None if known is None else known.subject

    def verify(self, signature: bytes, data: bytes) -> Subject:
        """Who sealed `data`. DeniedError: nobody of this fleet whose certificate is here."""
        known = self._load(signature[:KEY_ID])
        if known is None:
            raise DeniedError(f"signed by a key that is not known here ({signature[:KEY_ID].hex() or 'none'})")
        try:
            known.key.verify(signature[KEY_ID:], data, _ECDSA)
        except InvalidSignature as error:
            raise DeniedError(f"the signature is not by {known.subject.uri}") from error
        return known.subject

    def _load(self, id_: bytes) -> _Known | None:
        known = self._known.get(id_)
        if known is None and id_ in self._der:
            try:
                known = self._known[id_] = self._checked(self._der[id_])
            except DeniedError:
                del self._der[id_]  # the disk damaged it, or the fleet has another authority now: who needs it learns it again
        return known

    def _checked(self, certificate: bytes) -> _Known:
        parsed, subject = self._verifier.issued(certificate)
        key = parsed.public_key()
        if subject.role != "node" or not isinstance(key, ec.EllipticCurvePublicKey):
            raise DeniedError(f"{subject.uri}: expected a node's certificate with a key of P-256")
        return _Known(key, subject)
