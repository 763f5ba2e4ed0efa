import datetime
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import DeniedError
from edged.identity.authority import Authority
from edged.identity.certificates import load_certificate
from edged.identity.node import Identity
from edged.identity.verifier import MAX_CERTIFICATE, Verifier

DAY = 86400.0


def test_who_is_refused_and_why(authority: Authority, now: datetime.datetime, tmp_path: Path) -> None:
    verifier = Verifier(authority.certificate_pem)
    identity, other = (Identity(authority.issue(name, "site-1", (), now)) for name in ("gw-a", "gw-b"))
    der, at = identity.certificate_der, now.timestamp()
    assert verifier.certificate(der, at).name == "gw-a"
    assert verifier.certificate(identity.certificate_pem, at).group == "site-1"
    with pytest.raises(DeniedError, match="not by the certificate's key"):
        verifier.proof(der, b"data", other.sign(b"data"), at)
    with pytest.raises(DeniedError, match="not by the certificate's key"):
        verifier.proof(der, b"other data", identity.sign(b"data"), at)
    with pytest.raises(DeniedError, match="not by the certificate's key"):
        verifier.proof(der, b"data", b"", at)
    for moment in (at - 2 * DAY, at + 4000 * DAY):
        with pytest.raises(DeniedError, match="valid from 2026-08-06"):
            verifier.certificate(der, moment)
    stranger = Identity(Authority.create(tmp_path / "stranger", "acme", now).issue("gw-a", "site-1", (), now))
    with pytest.raises(DeniedError, match="not a certificate of this fleet"):
        verifier.certificate(stranger.certificate_der, at)
    with pytest.raises(DeniedError, match="not a certificate of this fleet"):
        verifier.certificate(authority.certificate_pem, at)
    with pytest.raises(DeniedError, match="at most"):
        verifier.certificate(b"x" * (MAX_CERTIFICATE + 1), at)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # cryptography will refuse such a certificate by itself one day
@given(st.data())
def test_damaged_certificates_raise_their_declared_error_only(data: st.DataObject) -> None:
    der = bytearray(_IDENTITY.certificate_der)
    # How many bits of the signature's last byte do not count (X.690, 8.6.2.2) may be said wrong: parsers let it pass.
    unused_bits = len(der) - len(load_certificate(bytes(der)).signature) - 1
    position = data.draw(st.integers(0, len(der) - 1).filter(lambda at: at != unused_bits))
    der[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DeniedError):
        _VERIFIER.certificate(bytes(der), 1_786_000_000.0)


def _made() -> tuple[Identity, Verifier]:
    now = datetime.datetime.fromtimestamp(1_786_000_000, datetime.UTC)
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority.create(Path(directory), "acme", now)
    return Identity(authority.issue("gw-a", "site-1", (), now)), Verifier(authority.certificate_pem)


_IDENTITY, _VERIFIER = _made()


@pytest.mark.parametrize("oid", ["06082a8648ce3d030107", "06082a8648ce3d040302"])  # of the curve, of the signature
def test_an_algorithm_that_nobody_knows_is_refused(oid: str) -> None:
    known = bytes.fromhex(oid)
    der = _IDENTITY.certificate_der
    assert known in der
    with pytest.raises(DeniedError, match="not a certificate of this fleet"):
        _VERIFIER.certificate(der.replace(known, known[:-1] + b"\x77"), 1_786_000_000.0)
