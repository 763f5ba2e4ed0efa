"""The authority of this node's own API clients, and the kubeconfig files that it makes."""

import base64
import datetime
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edged.api.routes import PREFIX
from edged.api.who import ADMINS
from edged.identity.certificates import authority_certificate, key_pem, load_certificate, load_key, new_key, pem
from edged.kit.files import private_dir, write_private

DIRECTORY = "api"
KEY_FILE = "clients.key"
CERTIFICATE_FILE = "clients.crt"
CLIENT_DAYS = 365
EARLY = datetime.timedelta(hours=1)  # a client's clock may be behind
AUTHORITY_NAME = "edged-clients"


class ClientAuthority:
    """Signs the certificates that this node's API trusts, and nothing else: a fleet's certificate opens no API."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def open(cls, state_dir: Path, now: datetime.datetime) -> "ClientAuthority":
        """The authority in `state_dir`, made when there is none yet; InvalidError when its files are damaged."""
        directory = private_dir(state_dir / DIRECTORY)
        with _locked(directory):
            if not (directory / CERTIFICATE_FILE).exists():
                key = new_key()
                write_private(directory / KEY_FILE, key_pem(key))
                write_private(directory / CERTIFICATE_FILE, pem(authority_certificate(AUTHORITY_NAME, key, now)))
        key = load_key((directory / KEY_FILE).read_bytes())
        return cls(key, load_certificate((directory / CERTIFICATE_FILE).read_bytes()))

    @property
    def certificate_pem(self) -> bytes:
        """What the API's TLS trusts."""
        return pem(self._certificate)

    def issue(self, user: str, groups: tuple[str, ...], now: datetime.datetime) -> tuple[bytes, bytes]:
        """A new key and its certificate (both PEM) for a user in groups, good for CLIENT_DAYS."""
        key = new_key()
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._certificate.subject)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - EARLY).not_valid_after(now + datetime.timedelta(days=CLIENT_DAYS))
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = builder.add_extension(issuer, critical=False).sign(self._key, hashes.SHA256())
        return key_pem(key), pem(certificate)


def kubeconfig(
    state_dir: Path,
    server: str,
    node: str,
    authority_pem: bytes,
    now: datetime.datetime,
    user: str = "admin",
    group: str | None = None,
) -> str:
    """A kubeconfig (YAML, by being JSON) for an administrator of node `node`, whose API is at `server` (a URL).

    The server proves itself with the node's certificate of the fleet authority, under the node's name. With `group` it leads
    to the objects of that group, which the node observes; the cluster then goes by the group's name.
    """
    key, certificate = ClientAuthority.open(state_dir, now).issue(user, (ADMINS,), now)
    cluster = {"server": server, "tls-server-name": node, "certificate-authority-data": _base64(authority_pem)}
    credentials = {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
    name = node if group is None else group
    if group is not None:
        cluster["server"] = f"{server.rstrip('/')}{PREFIX}{group}"
    context = f"{user}@{name}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": context, "user": credentials}],
        "contexts": [{"name": context, "context": {"cluster": name, "user": context, "namespace": "default"}}],
        "current-context": context,
    }
    return json.dumps(config, indent=2) + "\n"


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """The daemon and `edged kubeconfig` may both be the first to come: one of them makes the authority."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
