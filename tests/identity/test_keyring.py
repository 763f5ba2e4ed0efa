import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import DeniedError
from edged.identity import keyring
from edged.identity.authority import Authority
from edged.identity.keyring import KEY_ID, Keyring, key_id
from edged.identity.node import Identity
from edged.identity.verifier import Verifier


def test_who_sealed_something_is_known_by_a_certificate_that_was_learnt(authority: Authority, now: datetime.datetime) -> None:
    identity = Identity(authority.issue("gw-a", "site-1", (), now))
    ring = Keyring(Verifier(authority.certificate_pem))
    sealed = identity.seal(b"data")
    assert sealed[:KEY_ID] == key_id(identity.certificate_der)
    with pytest.raises(DeniedError, match="a key that is not known here"):
        ring.verify(sealed, b"data")
    assert not ring.knows("gw-a")
    id_ = ring.learn(identity.certificate_der)
    assert (ring.ids, ring.certificate(id_), ring.knows("gw-a")) == ({id_}, identity.certificate_der, True)
    assert ring.verify(sealed, b"data").name == "gw-a"
    with pytest.raises(DeniedError, match="not by spiffe://acme/group/site-1/node/gw-a"):
        ring.verify(sealed, b"other data")
    with pytest.raises(DeniedError, match="not known here"):
        ring.verify(b"", b"data")


def test_what_was_kept_is_known_again_and_what_is_damaged_is_learnt_again(authority: Authority, now: datetime.datetime) -> None:
    identity, other = (Identity(authority.issue(name, "site-1", (), now)) for name in ("gw-a", "gw-b"))
    kept = {key_id(identity.certificate_der): identity.certificate_der, key_id(other.certificate_der): b"damaged"}
    ring = Keyring(Verifier(authority.certificate_pem), kept)
    assert ring.verify(identity.seal(b"x"), b"x").name == "gw-a"
    assert ring.ids == {key_id(identity.certificate_der)}
    assert not ring.knows("gw-b")
    assert ring.learn(other.certificate_der) == key_id(other.certificate_der)


def test_only_nodes_of_this_fleet_are_learnt(authority: Authority, now: datetime.datetime, tmp_path: Path) -> None:
    ring = Keyring(Verifier(authority.certificate_pem))
    stranger = Identity(Authority.create(tmp_path / "stranger", "acme", now).issue("gw-a", "site-1", (), now))
    with pytest.raises(DeniedError, match="not a certificate of this fleet"):
        ring.learn(stranger.certificate_der)
    relay = authority.issue_relay("relay", ["relay.example"], now).certificate
    with pytest.raises(DeniedError, match="expected a node's certificate"):
        ring.learn(relay)
    assert ring.ids == frozenset()


def test_a_certificate_that_ran_out_still_proves_what_it_signed(authority: Authority, now: datetime.datetime) -> None:
    old = Identity(authority.issue("gw-a", "site-1", (), now - datetime.timedelta(days=3000)))
    ring = Keyring(Verifier(authority.certificate_pem))
    ring.learn(old.certificate_der)
    assert ring.verify(old.seal(b"x"), b"x").name == "gw-a"


def test_there_is_a_limit(authority: Authority, now: datetime.datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "MAX_KEYS", 1)
    one, other = (Identity(authority.issue(name, "site-1", (), now)) for name in ("gw-a", "gw-b"))
    ring = Keyring(Verifier(authority.certificate_pem))
    ring.learn(one.certificate_der)
    ring.learn(one.certificate_der)
    with pytest.raises(DeniedError, match="a certificate more than the 1"):
        ring.learn(other.certificate_der)


def _ring() -> Keyring:
    import tempfile  # noqa: PLC0415

    now = datetime.datetime.fromtimestamp(1_786_000_000, datetime.UTC)
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority.create(Path(directory), "acme", now)
    ring = Keyring(Verifier(authority.certificate_pem))
    ring.learn(Identity(authority.issue("gw-a", "site-1", (), now)).certificate_der)
    return ring


_RING = _ring()


@given(st.binary(max_size=90), st.binary(max_size=20), st.booleans())
def test_whatever_the_bytes_only_the_declared_error_comes_out(signature: bytes, data: bytes, known: bool) -> None:
    with pytest.raises(DeniedError):
        _RING.verify(next(iter(_RING.ids)) + signature if known else signature, data)
