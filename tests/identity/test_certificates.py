import datetime

import pytest

from edged.errors import InvalidError
from edged.identity import certificates
from edged.identity.authority import Authority
from edged.identity.certificates import Subject
from edged.identity.node import Identity


def leaf(authority: Authority, subject: Subject, now: datetime.datetime) -> Subject:
    bundle = authority._leaf(subject, (), (), now)
    return certificates.subject_of(certificates.load_certificate(bundle.certificate))


def test_the_uri_says_who(authority: Authority, now: datetime.datetime) -> None:
    for subject in (Subject("acme", "node", "site-1", "gw-a"), Subject("acme", "relay", "", "relay")):
        assert leaf(authority, subject, now) == subject


@pytest.mark.parametrize(
    "subject",
    [Subject("acme", "node", "", "gw-a"), Subject("acme", "relay", "site", "r"), Subject("acme", "pod", "site", "p")],
)
def test_other_uris_are_refused(authority: Authority, now: datetime.datetime, subject: Subject) -> None:
    with pytest.raises(InvalidError, match="URI"):
        leaf(authority, subject, now)


def test_the_authority_itself_names_no_node(authority: Authority) -> None:
    with pytest.raises(InvalidError, match="SPIFFE"):
        certificates.subject_of(certificates.load_certificate(authority.certificate_pem))


@pytest.mark.parametrize("data", [b"", b"-----BEGIN nothing", b"\x30\x82", b"x" * 1000])
def test_what_is_no_certificate_or_key(data: bytes) -> None:
    with pytest.raises(InvalidError):
        certificates.load_certificate(data)
    with pytest.raises(InvalidError):
        certificates.load_key(data)


def test_a_key_of_an_unknown_curve_is_refused_with_its_certificate(authority: Authority, now: datetime.datetime) -> None:
    der = Identity(authority.issue("gw-a", "site-1", (), now)).certificate_der
    curve = bytes.fromhex("06082a8648ce3d030107")
    assert curve in der
    with pytest.raises(InvalidError, match=r"not an X\.509 certificate"):
        certificates.load_certificate(der.replace(curve, curve[:-1] + b"\x77"))
