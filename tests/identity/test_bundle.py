import datetime
import json
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import AlreadyExistsError, InvalidError
from edged.identity.authority import Authority
from edged.identity.bundle import KEY_FILE, MAX_BUNDLE, join, load_bundle, load_installed


def test_there_and_back(authority: Authority, now: datetime.datetime, tmp_path: Path) -> None:
    bundle = authority.issue("gw-a", "site-1", ["wss://relay.example.com"], now)
    assert load_bundle(bundle.dump()) == bundle
    assert bundle.subject.uri == "spiffe://acme/group/site-1/node/gw-a"
    state = tmp_path / "state"
    join(bundle, state)
    assert load_installed(state) == bundle
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()} == {0o600}


def test_an_identity_is_not_replaced_by_accident(authority: Authority, now: datetime.datetime, tmp_path: Path) -> None:
    one, other = (authority.issue(name, "site-1", (), now) for name in ("gw-a", "gw-b"))
    join(one, tmp_path / "state")
    join(one, tmp_path / "state")
    with pytest.raises(AlreadyExistsError, match="holds the identity spiffe://acme/group/site-1/node/gw-a"):
        join(other, tmp_path / "state")
    join(other, tmp_path / "state", replace=True)
    assert load_installed(tmp_path / "state") == other


def test_parts_that_do_not_belong_together(authority: Authority, now: datetime.datetime, tmp_path: Path) -> None:
    one, other = (authority.issue(name, "site-1", (), now) for name in ("gw-a", "gw-b"))
    stranger = Authority.create(tmp_path / "stranger", "acme", now)
    with pytest.raises(InvalidError, match="key is not the one"):
        load_bundle(one._replace(key=other.key).dump())
    with pytest.raises(InvalidError, match="not of its authority"):
        load_bundle(one._replace(authority=stranger.certificate_pem).dump())


def test_what_is_missing_is_named(authority: Authority, now: datetime.datetime, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="run `edged join BUNDLE` first"):
        load_installed(tmp_path)
    join(authority.issue("gw-a", "site-1", (), now), tmp_path / "state")
    (tmp_path / "state" / KEY_FILE).write_bytes(b"nothing")
    with pytest.raises(InvalidError, match="private key"):
        load_installed(tmp_path / "state")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b'{"edgedBundle": 2}', b"\xff\xfe", b"x" * (MAX_BUNDLE + 1), b"[" * 60000]
)
def test_what_is_no_bundle(data: bytes) -> None:
    with pytest.raises(InvalidError, match="join bundle"):
        load_bundle(data)


@given(st.data())
def test_a_damaged_bundle_raises_its_declared_error_only(data: st.DataObject) -> None:
    text = bytearray(_BUNDLE)
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        load_bundle(bytes(text))
    except InvalidError:
        pass


@given(
    st.fixed_dictionaries(
        {"edgedBundle": st.just(1)},
        optional={
            k: st.none() | st.integers() | st.text() | st.lists(st.integers())
            for k in ("key", "certificate", "authority", "relays")
        },
    )
)
def test_fields_of_any_type(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidError):
        load_bundle(json.dumps(fields).encode())


def _made() -> bytes:
    now = datetime.datetime(2026, 8, 6, tzinfo=datetime.UTC)
    with tempfile.TemporaryDirectory() as directory:
        return Authority.create(Path(directory), "acme", now).issue("gw-a", "site-1", ["wss://relay"], now).dump()


_BUNDLE = _made()
