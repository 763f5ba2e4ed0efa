"""A join bundle: all that makes a machine a node of a fleet, in one private file; and its installation."""

import json
from pathlib import Path
from typing import NamedTuple, TypeGuard

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edged.errors import AlreadyExistsError, InvalidError
from edged.identity.certificates import Subject, load_certificate, load_key, subject_of
from edged.kit.files import private_dir, write_private

VERSION = 1
MAX_BUNDLE = 64 << 10  # bytes: a key, two certificates and some addresses are under 8 kB
KEY_FILE = "node.key"
CERTIFICATE_FILE = "node.crt"
AUTHORITY_FILE = "authority.crt"
RELAYS_FILE = "relays.json"


class Bundle(NamedTuple):
    """Key, certificate and authority as PEM; `relays` are WebSocket URLs."""

    key: bytes
    certificate: bytes
    authority: bytes
    relays: tuple[str, ...]

    @property
    def subject(self) -> Subject:
        """Whom it is for."""
        return subject_of(load_certificate(self.certificate))

    def dump(self) -> bytes:
        """The bundle as a JSON file."""
        fields = {
            "edgedBundle": VERSION,
            "key": self.key.decode(),
            "certificate": self.certificate.decode(),
            "authority": self.authority.decode(),
            "relays": list(self.relays),
        }
        return json.dumps(fields, indent=1).encode() + b"\n"


def load_bundle(data: bytes) -> Bundle:
    """A bundle from its file's bytes: whole, consistent and of a version known here, else InvalidError."""
    if len(data) > MAX_BUNDLE:
        raise InvalidError(f"a join bundle of {len(data)} bytes, at most {MAX_BUNDLE} are taken")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"not a join bundle: {error}") from error
    if not isinstance(fields, dict) or fields.get("edgedBundle") != VERSION:
        raise InvalidError(f"not a join bundle of version {VERSION}")
    texts = [fields.get(name) for name in ("key", "certificate", "authority")]
    relays = fields.get("relays")
    if not all(isinstance(text, str) for text in texts) or not _strings(relays):
        raise InvalidError("the join bundle is damaged: expected the texts key, certificate, authority and the list relays")
    key, certificate, authority = (str(text).encode() for text in texts)
    bundle = Bundle(key, certificate, authority, tuple(relays))
    check(bundle)
    return bundle


def check(bundle: Bundle) -> Subject:
    """Whom the bundle is for, when key, certificate and authority belong together; else InvalidError."""
    certificate = load_certificate(bundle.certificate)
    public = load_key(bundle.key).public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*form) != public.public_bytes(*form):
        raise InvalidError("the bundle's key is not the one its certificate names")
    try:
        certificate.verify_directly_issued_by(load_certificate(bundle.authority))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError) as error:
        raise InvalidError("the bundle's certificate is not of its authority") from error
    return subject_of(certificate)


def join(bundle: Bundle, state_dir: Path, *, replace: bool = False) -> Subject:
    """Install a bundle in the node's state directory. An identity that is there already is kept unless `replace`."""
    subject = check(bundle)
    private_dir(state_dir)
    if not replace and (state_dir / CERTIFICATE_FILE).exists():
        present = (state_dir / CERTIFICATE_FILE).read_bytes()
        if present == bundle.certificate:
            return subject
        there = subject_of(load_certificate(present))
        raise AlreadyExistsError(f"{state_dir} holds the identity {there.uri}: --force replaces it")
    write_private(state_dir / KEY_FILE, bundle.key)
    write_private(state_dir / AUTHORITY_FILE, bundle.authority)
    write_private(state_dir / RELAYS_FILE, json.dumps(list(bundle.relays)).encode())
    write_private(state_dir / CERTIFICATE_FILE, bundle.certificate)
    return subject


def load_installed(state_dir: Path) -> Bundle:
    """The bundle that was installed in `state_dir`; InvalidError when there is none or its files disagree."""
    try:
        key, certificate, authority, relays = (
            (state_dir / name).read_bytes() for name in (KEY_FILE, CERTIFICATE_FILE, AUTHORITY_FILE, RELAYS_FILE)
        )
    except FileNotFoundError as error:
        raise InvalidError(f"{error.filename} is missing: run `edged join BUNDLE` first") from error
    except OSError as error:
        raise InvalidError(f"{error.filename}: {error.strerror}") from error
    try:
        addresses = json.loads(relays)
    except ValueError as error:
        raise InvalidError(f"{state_dir / RELAYS_FILE}: {error}") from error
    if not _strings(addresses):
        raise InvalidError(f"{state_dir / RELAYS_FILE}: expected a list of texts")
    bundle = Bundle(key, certificate, authority, tuple(addresses))
    check(bundle)
    return bundle


def _strings(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
