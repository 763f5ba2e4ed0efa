"""Checks what others show: a certificate of this fleet, and a proof that they hold its key."""

import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from edged.errors import DeniedError, InvalidError
from edged.identity.certificates import Subject, load_certificate, subject_of

MAX_CERTIFICATE = 8 << 10  # bytes: ours are under 1 kB


class Verifier:
    """Trusts one authority, and leaves issued by it directly. Every refusal is a DeniedError that says why."""

    def __init__(self, authority_pem: bytes) -> None:
        self._authority = load_certificate(authority_pem)

    def certificate(self, certificate: bytes, now: float) -> Subject:
        """Whom a certificate (DER or PEM) names, when this fleet's authority issued it and it is valid at `now` (epoch s)."""
        return self._checked(certificate, now)[1]

    def proof(self, certificate: bytes, data: bytes, signature: bytes, now: float) -> Subject:
        """Whom a certificate names, when `signature` over `data` is by its key."""
        parsed, subject = self._checked(certificate, now)
        public = parsed.public_key()
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise DeniedError(f"{subject.uri}: the certificate's key is not of P-256")
        try:
            public.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise DeniedError(f"{subject.uri}: the proof is not by the certificate's key") from error
        return subject

    def issued(self, data: bytes) -> tuple[x509.Certificate, Subject]:
        """A certificate that this fleet's authority issued, whenever that was, and whom it names."""
        if len(data) > MAX_CERTIFICATE:
            raise DeniedError(f"a certificate of {len(data)} bytes, at most {MAX_CERTIFICATE} are taken")
        try:
            certificate = load_certificate(data)
            certificate.verify_directly_issued_by(self._authority)
            subject = subject_of(certificate)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError, InvalidError) as error:
            raise DeniedError(f"not a certificate of this fleet: {error}") from error
        return certificate, subject

    def _checked(self, data: bytes, now: float) -> tuple[x509.Certificate, Subject]:
        certificate, subject = self.issued(data)
        at = datetime.datetime.fromtimestamp(now, datetime.UTC)
        if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
            raise DeniedError(f"{subject.uri}: valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}, it is {at:%Y-%m-%d}")
        return certificate, subject
