import datetime
import stat
from pathlib import Path

import pytest

from edged.errors import AlreadyExistsError, InvalidError
from edged.identity.authority import Authority
from edged.identity.node import Identity


def test_it_is_private_and_never_overwritten(authority: Authority, tmp_path: Path, now: datetime.datetime) -> None:
    for file in (tmp_path / "authority").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(AlreadyExistsError, match="holds a fleet's authority already"):
        Authority.create(tmp_path / "authority", "other", now)
    assert Authority.load(tmp_path / "authority").certificate_pem == authority.certificate_pem
    assert Authority.load(tmp_path / "authority").fleet == "acme"


def test_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="`edged fleet init"):
        Authority.load(tmp_path)


@pytest.mark.parametrize("name", ["", "Gw-A", "gw_a", "-gw", "gw-", "a" * 64, "gw.a", "gw/a", "gw\n"])
def test_names_are_dns_labels(authority: Authority, now: datetime.datetime, name: str) -> None:
    with pytest.raises(InvalidError, match="expected a DNS label"):
        authority.issue(name, "site", (), now)
    with pytest.raises(InvalidError, match="expected a DNS label"):
        authority.issue("gw-a", name, (), now)


def test_a_relay_has_no_group(authority: Authority, now: datetime.datetime) -> None:
    subject = authority.issue_relay("relay", ["relay.example.com", "192.0.2.1"], now).subject
    assert subject.uri == "spiffe://acme/relay/relay"


def test_an_observer(authority: Authority, now: datetime.datetime) -> None:
    issued = authority.issue("obs", "cloud", (), now, observes=["site-2", "site-1", "site-2"])
    assert issued.subject.observes == ("site-1", "site-2")
    assert Identity(issued).observes == ("site-1", "site-2")
    with pytest.raises(InvalidError, match="expected other groups"):
        authority.issue("obs", "cloud", (), now, observes=["cloud"])
    with pytest.raises(InvalidError, match="observed group"):
        authority.issue("obs", "cloud", (), now, observes=["Site"])
