"""Keys and certificates of a fleet: P-256, SPIFFE URIs (spiffe.io, SPIFFE-ID), made and taken apart."""

import datetime
import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edged.errors import InvalidError

EVERY = "*"  # in the place of a group's name: all groups, those that come later too
MAX_OBSERVED = 16  # groups in one certificate: it stays under 3 kB, and 256 of them fit a message; EVERY has no limit
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # a DNS-1123 label: it is a DNS SAN and a Kubernetes name
EARLY = datetime.timedelta(hours=1)  # certificates begin this long before they are made: gateways' clocks differ
AUTHORITY_DAYS = 3650
NODE_DAYS = 1825  # rotation comes with fleet security; until then a gateway must not fall off its fleet


class Subject(NamedTuple):
    """Whom a certificate names. `role` is `node` or `relay`; a relay is in no group ("").

    A `limited` node writes for itself alone: see rights.py. A node that `observes` holds copies of these groups, or of
    EVERY one; what it may read is in the certificate, as what it may write is.
    """

    fleet: str
    role: str
    group: str
    name: str
    limited: bool = False
    observes: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        """The SPIFFE ID."""
        scope = f"group/{self.group}/" if self.group else ""
        return f"spiffe://{self.fleet}/{scope}{LIMITED if self.limited else self.role}/{self.name}"

    @property
    def uris(self) -> tuple[str, ...]:
        """What the certificate carries: the SPIFFE ID, and one URI for each group that it observes."""
        return (self.uri, *(f"spiffe://{self.fleet}/observe/{group}" for group in self.observes))

    def may_hold(self, group: str) -> bool:
        """Whether the node may be given the objects of a group."""
        return group == self.group or group in self.observes or EVERY in self.observes


LIMITED = "limited-node"  # in the place of the role
_URI = re.compile(rf"spiffe://(?P<fleet>[^/]+)/(group/(?P<group>[^/]+)/)?(?P<role>node|{LIMITED}|relay)/(?P<name>[^/]+)")
_OBSERVE = re.compile(r"spiffe://(?P<fleet>[^/]+)/observe/(?P<group>[^/]+)")


def check_name(what: str, name: str) -> str:
    """`name` when it is a DNS label, else InvalidError."""
    if not NAME.fullmatch(name):
        raise InvalidError(f"{what} {name!r}: expected a DNS label (a-z, 0-9 and '-', at most 63 characters)")
    return name


def subject_of(certificate: x509.Certificate) -> Subject:
    """Whom a certificate of a fleet names; InvalidError when it is not one."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError) as error:
        raise InvalidError(f"the certificate has no SPIFFE URI: {error}") from error
    match = _URI.fullmatch(uris[0]) if uris else None
    if match is None:
        raise InvalidError(f"the certificate's URI is {uris!r}: expected one spiffe://FLEET/group/GROUP/node/NAME")
    limited = match["role"] == LIMITED
    observes = _observed(match["fleet"], uris[1:])
    role = "node" if limited else match["role"]
    subject = Subject(match["fleet"], role, match["group"] or "", match["name"], limited, observes)
    if (subject.role == "node") != bool(subject.group):
        raise InvalidError(f"the certificate's URI is {uris[0]!r}: a node has a group, a relay has none")
    for what, part in (("fleet", subject.fleet), ("group", subject.group or "x"), ("name", subject.name)):
        check_name(f"{what} in the certificate", part)
    check_observes(subject)
    return subject


def check_observes(subject: Subject) -> None:
    """InvalidError unless a node observes other groups, in order and each once, or EVERY one alone."""
    groups = subject.observes
    if not groups:
        return
    if subject.role != "node":
        raise InvalidError(f"{subject.uri} observes {', '.join(groups)}: only a node may")
    if len(groups) > MAX_OBSERVED:
        raise InvalidError(f"{subject.uri} observes {len(groups)} groups: at most {MAX_OBSERVED}, or {EVERY!r}")
    if groups == (EVERY,):
        return
    for group in groups:
        check_name("observed group", group)
    if subject.group in groups or tuple(sorted(set(groups))) != groups:
        raise InvalidError(f"{subject.uri} observes {', '.join(groups)}: expected other groups, in order and each once")


def _observed(fleet: str, uris: Sequence[str]) -> tuple[str, ...]:
    matches = [_OBSERVE.fullmatch(uri) for uri in uris]
    if any(match is None or match["fleet"] != fleet for match in matches):
        raise InvalidError(f"the certificate's further URIs are {uris!r}: expected spiffe://{fleet}/observe/GROUP")
    return tuple(match["group"] for match in matches if match is not None)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as unencrypted PKCS #8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """A P-256 key from its PEM; InvalidError when it is something else."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidError(f"not a private key in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidError("the private key is not of P-256")
    return key


def load_certificate(data: bytes) -> x509.Certificate:
    """A certificate from PEM or DER, of a key that can be used; InvalidError when it is neither."""
    load = x509.load_pem_x509_certificate if data.startswith(b"-----BEGIN") else x509.load_der_x509_certificate
    try:
        certificate = load(data)
        certificate.public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise InvalidError(f"not an X.509 certificate: {error}") from error
    return certificate


def pem(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM)


def authority_certificate(fleet: str, key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> x509.Certificate:
    """A self-signed authority that may sign leaves only."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, fleet)])
    builder = _builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.sign(key, hashes.SHA256())


def leaf_certificate(
    subject: Subject,
    hosts: Sequence[str],
    public_key: ec.EllipticCurvePublicKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
) -> x509.Certificate:
    """A certificate for `subject`, for both ends of TLS. `hosts` are further names or IP addresses that it answers to."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in subject.uris]
    names.append(x509.DNSName(subject.name))
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject.name)])
    builder = _builder(name, authority.subject, public_key, now, NODE_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return builder.add_extension(issuer, critical=False).sign(authority_key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - EARLY).not_valid_after(now + datetime.timedelta(days=days))


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
