import datetime

import pytest

from edged.errors import InvalidError
from edged.identity import certificates
from edged.identity.authority import Authority
from edged.identity.certificates import EVERY, MAX_OBSERVED, Subject
from edged.identity.node import Identity


def leaf(authority: Authority, subject: Subject, now: datetime.datetime) -> Subject:
    bundle = authority._leaf(subject, (), (), now)
    return certificates.subject_of(certificates.load_certificate(bundle.certificate))


def test_the_uri_says_who(authority: Authority, now: datetime.datetime) -> None:
    for subject in (
        Subject("acme", "node", "site-1", "gw-a"),
        Subject("acme", "node", "site-1", "gw-a", limited=True),
        Subject("acme", "relay", "", "relay"),
        Subject("acme", "node", "cloud", "obs", observes=("site-1", "site-2")),
        Subject("acme", "node", "cloud", "obs", limited=True, observes=(EVERY,)),
    ):
        assert leaf(authority, subject, now) == subject


def test_what_a_node_may_hold() -> None:
    node = Subject("acme", "node", "cloud", "obs")
    groups = ("cloud", "site-1", "site-2")
    assert [node.may_hold(group) for group in groups] == [True, False, False]
    assert [node._replace(observes=("site-2",)).may_hold(group) for group in groups] == [True, False, True]
    assert all(node._replace(observes=(EVERY,)).may_hold(group) for group in groups)


@pytest.mark.parametrize(
    "subject",
    [
        Subject("acme", "relay", "", "r", observes=("site-1",)),
        Subject("acme", "node", "cloud", "obs", observes=("cloud",)),
        Subject("acme", "node", "cloud", "obs", observes=("site-2", "site-1")),
        Subject("acme", "node", "cloud", "obs", observes=("site-1", "site-1")),
        Subject("acme", "node", "cloud", "obs", observes=(EVERY, "site-1")),
        Subject("acme", "node", "cloud", "obs", observes=("Site",)),
        Subject("acme", "node", "cloud", "obs", observes=("site/node/x",)),
        Subject("acme", "node", "cloud", "obs", observes=tuple(f"g{number:02}" for number in range(MAX_OBSERVED + 1))),
    ],
)
def test_what_may_not_be_observed(authority: Authority, now: datetime.datetime, subject: Subject) -> None:
    with pytest.raises(InvalidError, match="observe"):
        leaf(authority, subject, now)


def test_the_most_that_may_be_observed_keeps_a_certificate_small(authority: Authority, now: datetime.datetime) -> None:
    groups = [f"{'g' * 61}{number:02}" for number in range(MAX_OBSERVED)]
    der = Identity(authority.issue("o" * 63, "c" * 63, (), now, observes=groups)).certificate_der
    assert len(der) < 3 << 10
    assert certificates.subject_of(certificates.load_certificate(der)).observes == tuple(groups)


def test_the_uris_of_another_fleet_and_two_nodes_in_one_are_refused(authority: Authority, now: datetime.datetime) -> None:
    further = ""

    class Odd(Subject):
        @property
        def uris(self) -> tuple[str, ...]:
            return (self.uri, further)

    for further in (  # noqa: B007  the property reads it
        *("spiffe://evil/observe/site-1", "spiffe://acme/group/site/node/gw-b"),
        *("spiffe://acme/observe/a/b", "https://x"),
    ):
        odd = Odd("acme", "node", "site-1", "gw-a")
        with pytest.raises(InvalidError, match="further URIs"):
            leaf(authority, odd, now)


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
