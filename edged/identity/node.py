"""This node's own identity, as it was installed."""

from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from edged.errors import InvalidError
from edged.identity.bundle import Bundle, load_installed
from edged.identity.certificates import load_certificate, load_key, subject_of
from edged.identity.keyring import key_id


class Identity:
    """A node's name, group, fleet and relays, the groups that it observes, its certificate, and its key to sign with."""

    def __init__(self, bundle: Bundle) -> None:
        certificate = load_certificate(bundle.certificate)
        subject = subject_of(certificate)
        if subject.role != "node":
            raise InvalidError(f"the certificate names {subject.uri}, which is no node")
        self.subject = subject
        self.name, self.group, self.fleet, self.limited = subject.name, subject.group, subject.fleet, subject.limited
        self.observes = subject.observes
        self.relays = bundle.relays
        self.key_pem, self.certificate_pem, self.authority_pem = bundle.key, bundle.certificate, bundle.authority
        self.certificate_der = certificate.public_bytes(Encoding.DER)
        self._key = load_key(bundle.key)
        self._key_id = key_id(self.certificate_der)

    @classmethod
    def load(cls, state_dir: Path) -> "Identity":
        """The identity that `edged join` installed in `state_dir`; InvalidError when there is none."""
        return cls(load_installed(state_dir))

    def sign(self, data: bytes) -> bytes:
        """ECDSA P-256 with SHA-256 over `data`, DER."""
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))

    def seal(self, data: bytes) -> bytes:
        """The signature of `data` as it travels with what is replicated: the id of the certificate, then `sign`."""
        return self._key_id + self.sign(data)
