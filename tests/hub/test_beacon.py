from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ProtocolError
from edged.hub import beacon
from edged.hub.beacon import BURST, FIRST_S, MAX_BEACON, MAX_STARTS, QUIET_S, SEARCH_S, VERIFIED_S, Beacons, Hint, pause
from edged.identity.authority import Authority
from edged.identity.bundle import Bundle
from edged.identity.node import Identity
from edged.identity.verifier import Verifier


def beacons(fleet: Any, name: str, group: str = "site", start: bytes = b"") -> Beacons:
    return Beacons(fleet.identity(name, group), fleet.verifier, start or name.encode().ljust(8, b"."))


@pytest.fixture(scope="module")
def heard(acme: Any) -> tuple[Beacons, bytes, float]:
    """One who listens, what it hears, and the wall time."""
    return beacons(acme, "gw-a"), beacons(acme, "gw-b").make(7400), acme.now.timestamp()


def test_a_beacon_says_who_and_where(heard: Any) -> None:
    listener, data, wall = heard
    assert listener.hint(data) == Hint("gw-b", 7400, fresh=True)
    assert listener.verify(data, 0.0, wall) == Hint("gw-b", 7400, fresh=True)
    assert len(data) <= MAX_BEACON


def test_the_longest_names_fit(acme: Any, tmp_path: Any) -> None:
    authority = Authority.create(tmp_path / "long", "f" * 63, acme.now)
    identity = Identity(authority.issue("n" * 63, "g" * 63, (), acme.now))
    assert len(Beacons(identity, Verifier(authority.certificate_pem), b"12345678").make(65535)) <= MAX_BEACON - 100


def test_a_replay_is_not_taken_and_a_restart_is(acme: Any) -> None:
    listener, wall = beacons(acme, "gw-a"), acme.now.timestamp()
    speaker = beacons(acme, "gw-b")
    first, second = speaker.make(7400), speaker.make(7400)
    listener.verify(second, 0.0, wall)
    for old in (first, second):
        with pytest.raises(ProtocolError, match="heard before"):
            listener.hint(old)
    restarted = beacons(acme, "gw-b", start=b"later---").make(7401)
    assert listener.verify(restarted, 0.0, wall) == Hint("gw-b", 7401, fresh=True)


def test_recorded_starts_are_taken_once_each(acme: Any) -> None:
    listener, wall = beacons(acme, "gw-a"), acme.now.timestamp()
    recorded = [beacons(acme, "gw-b", start=b"start--%d" % number).make(7400) for number in range(MAX_STARTS)]
    for data in recorded:
        assert listener.verify(data, 0.0, wall).fresh
    for data in recorded:
        with pytest.raises(ProtocolError, match="heard before"):
            listener.hint(data)
    speaker = beacons(acme, "gw-b")
    listener.verify(speaker.make(7400), 0.0, wall)
    assert not listener.verify(speaker.make(7400), 0.0, wall).fresh
    assert listener.hint(recorded[0]).fresh  # forgotten, at last


def test_our_own_another_groups_and_another_fleets_go_by_unverified(acme: Any, evil: Any) -> None:
    listener = beacons(acme, "gw-a")
    own, twin = beacons(acme, "gw-a").make(1), beacons(acme, "gw-a", start=b"my twin-").make(1)
    assert listener.own(own)
    assert not listener.own(twin)
    assert not listener.own(b"")
    for data in (own, twin, beacons(acme, "gw-b", "yard").make(1), beacons(evil, "gw-b").make(1)):
        with pytest.raises(ProtocolError):
            listener.hint(data)


def test_what_is_forged_is_refused(acme: Any, evil: Any) -> None:
    listener, wall = beacons(acme, "gw-a"), acme.now.timestamp()
    theirs, ours = evil.identity("gw-b"), acme.identity("gw-b")
    thief = Identity(Bundle(theirs.key_pem, ours.certificate_pem, ours.authority_pem, ()))
    stranger = Identity(Bundle(theirs.key_pem, theirs.certificate_pem, ours.authority_pem, ()))
    other_group = acme.identity("gw-b", "yard")
    moved = Identity(Bundle(other_group.key_pem, other_group.certificate_pem, other_group.authority_pem, ()))
    moved.group = "site"
    renamed = Identity(Bundle(ours.key_pem, ours.certificate_pem, ours.authority_pem, ()))
    renamed.name = "gw-c"
    said = {thief: "not by the certificate", stranger: "this fleet", moved: "not of group", renamed: "says it is 'gw-c'"}
    for identity, reason in said.items():
        data = Beacons(identity, acme.verifier, b"forged--").make(7400)
        assert listener.hint(data).port == 7400
        with pytest.raises(ProtocolError, match=reason):
            listener.verify(data, 0.0, wall)
    listener.verify(beacons(acme, "gw-b").make(7400), 0.0, wall)  # none of them spoilt it for the node itself


def test_verifications_are_few(acme: Any) -> None:
    listener, wall = beacons(acme, "gw-a"), acme.now.timestamp()
    speaker = beacons(acme, "gw-b")
    for _ in range(int(BURST)):
        listener.verify(speaker.make(7400), 100.0, wall)
    with pytest.raises(ProtocolError, match="more beacons than are verified"):
        listener.verify(speaker.make(7400), 100.0, wall)
    listener.verify(speaker.make(7400), 100.0 + 1.5 / VERIFIED_S, wall)
    with pytest.raises(ProtocolError, match="more beacons than are verified"):
        listener.verify(speaker.make(7400), 100.0 + 1.5 / VERIFIED_S, wall)


def test_the_numbers_of_few_nodes_are_remembered(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beacon, "MAX_HEARD", 2)
    listener, wall = beacons(acme, "gw-a"), acme.now.timestamp()
    said = [beacons(acme, name).make(7400) for name in ("gw-b", "gw-c", "gw-d")]
    for data in said:
        listener.verify(data, 0.0, wall)
    assert listener.hint(said[0]).node == "gw-b"  # forgotten
    with pytest.raises(ProtocolError, match="heard before"):
        listener.hint(said[1])


@given(st.data())
def test_damaged_beacons_raise_the_declared_error_only(heard: Any, data: st.DataObject) -> None:
    _, whole, wall = heard
    text = bytearray(whole)
    kind = data.draw(st.sampled_from(["flip", "cut", "grow", "random"]))
    if kind == "flip":
        text[data.draw(st.integers(0, len(text) - 1))] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del text[data.draw(st.integers(0, len(text) - 1)) :]
    elif kind == "grow":
        text += bytes(data.draw(st.integers(1, 70_000)))
    else:
        text = bytearray(data.draw(st.binary(max_size=1500)))
    listener = Beacons(heard[0]._identity, heard[0]._verifier, b"another-")
    with pytest.raises(ProtocolError):
        listener.verify(bytes(text), 0.0, wall)


def test_the_pace_is_quick_first_then_as_it_is_needed() -> None:
    random = Random(1)
    assert [pause(sent, searching=False, random=random) for sent in range(3)] == [0.0, 1.0, 2.0]
    assert sum(pause(sent, searching=True, random=random) for sent in range(3)) == FIRST_S[-1]
    for searching, most in ((True, SEARCH_S), (False, QUIET_S)):
        drawn = {pause(3, searching=searching, random=random) for _ in range(100)}
        assert len(drawn) == 100
        assert most * 3 / 4 <= min(drawn) <= max(drawn) <= most
