"""Certificates: this node's own, and those of the servers that it trusts.

Own: what the device names, else a key and a certificate of this node, made at first need in `own-key.pem` and `own.der`
of the directory. Servers: the file that the device names, else the certificate that a URL showed first, kept in
`servers/`; another one is refused until that file is deleted.
"""

import hashlib
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edged.device.opcua.nodes import Address
from edged.errors import UnreachableError
from edged.kit.files import private_dir, write_private

BITS = 2048  # what Basic256Sha256 asks for at least, and what every server takes
YEARS = 20  # a server's operator trusts it once, for as long as a machine lives
DAY_S = timedelta(days=1)  # it is valid since yesterday: clocks of machines differ


class Own(NamedTuple):
    """A certificate, its key, and the application's URI that is in it (Part 6, 6.2.2): servers refuse a client of another."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey
    uri: str


class Trust:
    """Keeps certificates in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def own(self, address: Address) -> Own:
        """What to show to this server. UnreachableError: a file of it cannot be read or made."""
        if address.certificate:
            return _own(Path(address.certificate), Path(address.private_key))
        certificate, key = self._directory / "own.der", self._directory / "own-key.pem"
        try:
            if not certificate.exists():
                private_dir(self._directory)
                _make(certificate, key)
        except OSError as error:
            raise UnreachableError(f"{error.filename}: {error.strerror}") from error
        return _own(certificate, key)

    def check(self, address: Address, shown: x509.Certificate) -> None:
        """UnreachableError: the server is known by another certificate than it shows."""
        known = Path(address.remote_certificate) if address.remote_certificate else self._pin(address)
        if (address.remote_certificate or known.exists()) and _load(known) != shown:
            raise UnreachableError(f"{address} shows another certificate than {known}; if that is right, replace that file")

    def keep(self, address: Address, shown: x509.Certificate) -> None:
        """The server has proved that this certificate is its own. UnreachableError: it cannot be written down."""
        path = self._pin(address)
        if address.remote_certificate or path.exists():
            return
        try:
            private_dir(path.parent)
            write_private(path, shown.public_bytes(serialization.Encoding.DER))
        except OSError as error:
            raise UnreachableError(f"{error.filename}: {error.strerror}") from error

    def _pin(self, address: Address) -> Path:
        return self._directory / "servers" / f"{hashlib.sha256(address.url.encode()).hexdigest()[:16]}.der"


def _own(certificate: Path, key: Path) -> Own:
    found = _load(certificate)
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except OSError as error:
        raise UnreachableError(f"{key}: {error.strerror}") from error
    except (ValueError, TypeError) as error:  # TypeError: it has a password
        raise UnreachableError(f"{key}: is no private key without a password, in PEM") from error
    if not isinstance(private, rsa.RSAPrivateKey):
        raise UnreachableError(f"{key}: is no RSA key, which OPC UA asks for")
    return Own(found, private, _uri(certificate, found))


def _load(path: Path) -> x509.Certificate:
    try:
        data = path.read_bytes()
        pem = data.startswith(b"-----")
        return x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
    except OSError as error:
        raise UnreachableError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UnreachableError(f"{path}: is no certificate") from error


def _uri(path: Path, certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.UniformResourceIdentifier)[0]
    except (x509.ExtensionNotFound, IndexError, ValueError) as error:
        raise UnreachableError(f"{path}: names no application URI, which OPC UA asks for") from error


def _make(path: Path, key_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
    host = socket.gethostname()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"edged at {host}"[:64])])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(True, True, True, True, False, True, False, False, False)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY_S)
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:{host}:edged"), x509.DNSName(host)]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(key_path, text)
    write_private(path, certificate.public_bytes(serialization.Encoding.DER))
