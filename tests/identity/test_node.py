import datetime
from pathlib import Path

import pytest

from edged.errors import InvalidError
from edged.identity.authority import Authority
from edged.identity.bundle import join
from edged.identity.node import Identity
from edged.identity.verifier import Verifier


def test_it_signs_what_a_verifier_of_its_fleet_takes(authority: Authority, now: datetime.datetime, tmp_path: Path) -> None:
    join(authority.issue("gw-a", "site-1", ["wss://relay"], now), tmp_path / "state")
    identity = Identity.load(tmp_path / "state")
    assert (identity.name, identity.group, identity.fleet, identity.relays) == ("gw-a", "site-1", "acme", ("wss://relay",))
    verifier = Verifier(identity.authority_pem)
    assert verifier.proof(identity.certificate_der, b"data", identity.sign(b"data"), now.timestamp()).name == "gw-a"


def test_a_relay_is_no_node(authority: Authority, now: datetime.datetime) -> None:
    with pytest.raises(InvalidError, match="which is no node"):
        Identity(authority.issue_relay("relay", ["localhost"], now))
