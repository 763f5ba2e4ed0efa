from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edged.errors import ProtocolError
from edged.identity.keyring import Keyring
from edged.identity.node import Identity
from edged.sync.clock import MAX_SKEW_S, Clock, at
from edged.sync.judge import Judge, Verdict
from edged.wire.sync import BODY, STATUS, Place, Register

NOW = 1_000_000.0
POD = b'{"apiVersion":"v1","kind":"Pod","spec":{"nodeName":"gw-l"}}'
GOOD = Register("pods", "default", "web-0", BODY, "u", "site/gw-b:1", 1, at(NOW), POD)
ABOUT = msgspec.structs.replace(GOOD, part=STATUS, origin="site/gw-l:1", value=b"{}")


def judge(keys: Keyring, standing: dict[Place, Register] | None = None) -> Judge:
    there = standing or {}
    return Judge(keys, Clock(lambda: NOW), lambda places: [there[place] for place in places if place in there])


def test_a_register_by_its_node_is_taken_from_anyone(
    keyring: Callable[..., Keyring], identity: Callable[..., Identity], sealed: Callable[..., Register]
) -> None:
    made = judge(keyring("gw-b"))
    for sender in ("gw-b", "gw-c"):
        assert made.verdict(sealed(GOOD, identity("gw-b")), sender) == (Verdict.TAKE, "")


@pytest.mark.parametrize(
    "changes", [{"value": b"{}"}, {"clock": 1}, {"seq": 2}, {"uid": "v"}, {"part": STATUS}, {"name": "x"}, {"signature": b""}]
)
def test_a_changed_register_is_a_forgery(
    changes: dict[str, object],
    keyring: Callable[..., Keyring],
    identity: Callable[..., Identity],
    sealed: Callable[..., Register],
) -> None:
    forged = msgspec.structs.replace(sealed(GOOD, identity("gw-b")), **changes)
    with pytest.raises(ProtocolError, match="of site/gw-b:1: "):
        judge(keyring("gw-b")).verdict(forged, "gw-b")


def test_a_signature_of_an_unknown_key_is_a_forgery(
    keyring: Callable[..., Keyring], identity: Callable[..., Identity], sealed: Callable[..., Register]
) -> None:
    with pytest.raises(ProtocolError, match="a key that is not known here"):
        judge(keyring("gw-c")).verdict(sealed(GOOD, identity("gw-b")), "gw-b")


def test_another_nodes_origin_is_denied(
    keyring: Callable[..., Keyring], identity: Callable[..., Identity], sealed: Callable[..., Register]
) -> None:
    verdict, why = judge(keyring("gw-b", "gw-c")).verdict(sealed(GOOD, identity("gw-c")), "gw-c")
    assert verdict is Verdict.DENY
    assert "gw-c signed a register of site/gw-b:1" in why


def test_a_stamp_in_the_future_waits_at_its_writer_only(
    keyring: Callable[..., Keyring], identity: Callable[..., Identity], sealed: Callable[..., Register]
) -> None:
    made = judge(keyring("gw-b"))
    ahead = sealed(msgspec.structs.replace(GOOD, clock=at(NOW + MAX_SKEW_S + 1)), identity("gw-b"))
    assert made.verdict(ahead, "gw-b")[0] is Verdict.WAIT
    assert made.verdict(ahead, "gw-c")[0] is Verdict.TAKE


def test_a_status_of_a_limited_node_waits_for_the_body_that_it_is_about(
    keyring: Callable[..., Keyring], identity: Callable[..., Identity], sealed: Callable[..., Register]
) -> None:
    keys, limited = keyring("gw-b"), identity("gw-l", limited=True)
    keys.learn(limited.certificate_der)
    status = sealed(ABOUT, limited)
    assert judge(keys).verdict(status, "gw-l")[0] is Verdict.WAIT
    assert judge(keys, {GOOD.place: GOOD}).verdict(status, "gw-l")[0] is Verdict.TAKE
    others = msgspec.structs.replace(GOOD, value=POD.replace(b"gw-l", b"gw-x"))
    assert judge(keys, {GOOD.place: others}).verdict(status, "gw-l")[0] is Verdict.DENY


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=90))
def test_whatever_the_signature_only_the_declared_error_comes_out(keyring: Callable[..., Keyring], signature: bytes) -> None:
    with pytest.raises(ProtocolError):
        judge(keyring("gw-b")).verdict(msgspec.structs.replace(GOOD, signature=signature), "gw-b")
