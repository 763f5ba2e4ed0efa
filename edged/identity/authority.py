"""The fleet's authority: a directory with its key and certificate, from which bundles are issued."""

import datetime
from collections.abc import Collection, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from edged.errors import AlreadyExistsError, InvalidError
from edged.identity import certificates
from edged.identity.bundle import Bundle
from edged.identity.certificates import Subject, check_name, check_observes
from edged.kit.files import private_dir, write_private

KEY_FILE = "authority.key"
CERTIFICATE_FILE = "authority.crt"


class Authority:
    """Issues the certificates of one fleet. Whoever holds its directory can make nodes: keep it off the gateways."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate
        self.fleet = str(certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)

    @property
    def certificate_pem(self) -> bytes:
        """The authority's certificate, which all nodes and relays trust."""
        return certificates.pem(self._certificate)

    @classmethod
    def create(cls, directory: Path, fleet: str, now: datetime.datetime) -> "Authority":
        """Make a new authority in `directory`; one that is there already is never overwritten (AlreadyExistsError)."""
        check_name("fleet", fleet)
        private_dir(directory)
        if (directory / KEY_FILE).exists():
            raise AlreadyExistsError(f"{directory / KEY_FILE} exists: this directory holds a fleet's authority already")
        key = certificates.new_key()
        authority = cls(key, certificates.authority_certificate(fleet, key, now))
        write_private(directory / CERTIFICATE_FILE, authority.certificate_pem)
        write_private(directory / KEY_FILE, certificates.key_pem(key))
        return authority

    @classmethod
    def load(cls, directory: Path) -> "Authority":
        """The authority in `directory`; InvalidError when there is none."""
        try:
            key = certificates.load_key((directory / KEY_FILE).read_bytes())
            certificate = certificates.load_certificate((directory / CERTIFICATE_FILE).read_bytes())
        except OSError as error:
            raise InvalidError(f"{error.filename}: {error.strerror}; `edged fleet init {directory}` makes one") from error
        return cls(key, certificate)

    def issue(
        self,
        name: str,
        group: str,
        relays: Sequence[str],
        now: datetime.datetime,
        *,
        limited: bool = False,
        observes: Collection[str] = (),
    ) -> Bundle:
        """A bundle for node `name` of `group`, with a new key. A `limited` node writes for itself alone: see rights.py.

        `observes` are other groups whose objects it may hold, or EVERY.
        """
        check_name("node name", name)
        check_name("group", group)
        subject = Subject(self.fleet, "node", group, name, limited, tuple(sorted(set(observes))))
        check_observes(subject)
        return self._leaf(subject, (), relays, now)

    def issue_relay(self, name: str, hosts: Sequence[str], now: datetime.datetime) -> Bundle:
        """A bundle for a relay that is dialled as `hosts` (DNS names or IP addresses)."""
        check_name("relay name", name)
        return self._leaf(Subject(self.fleet, "relay", "", name), hosts, (), now)

    def _leaf(self, subject: Subject, hosts: Sequence[str], relays: Sequence[str], now: datetime.datetime) -> Bundle:
        key = certificates.new_key()
        leaf = certificates.leaf_certificate(subject, hosts, key.public_key(), self._certificate, self._key, now)
        return Bundle(certificates.key_pem(key), certificates.pem(leaf), self.certificate_pem, tuple(relays))
