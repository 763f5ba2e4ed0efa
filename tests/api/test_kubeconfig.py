import base64
import datetime
import json
import stat
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from edged.api.kubeconfig import CLIENT_DAYS, ClientAuthority, kubeconfig
from edged.errors import InvalidError

NOW = datetime.datetime(2026, 8, 6, 12, tzinfo=datetime.UTC)


def test_the_authority_is_made_once_and_private(tmp_path: Path) -> None:
    first = ClientAuthority.open(tmp_path, NOW).certificate_pem
    assert ClientAuthority.open(tmp_path, NOW).certificate_pem == first
    directory = tmp_path / "api"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {0o600}


def test_a_damaged_authority_is_said_so(tmp_path: Path) -> None:
    ClientAuthority.open(tmp_path, NOW)
    (tmp_path / "api" / "clients.key").write_bytes(b"gone")
    with pytest.raises(InvalidError):
        ClientAuthority.open(tmp_path, NOW)


def test_a_kubeconfig(tmp_path: Path) -> None:
    text = kubeconfig(tmp_path, "https://127.0.0.1:6443", "gw-a", b"PEM", NOW)
    config = yaml.safe_load(text)
    assert config == json.loads(text)
    cluster = config["clusters"][0]["cluster"]
    assert cluster == {
        "server": "https://127.0.0.1:6443",
        "tls-server-name": "gw-a",
        "certificate-authority-data": base64.b64encode(b"PEM").decode(),
    }
    assert config["current-context"] == config["contexts"][0]["name"] == "admin@gw-a"
    data = base64.b64decode(config["users"][0]["user"]["client-certificate-data"])
    certificate = x509.load_pem_x509_certificate(data)
    assert certificate.subject.rfc4514_string() == "CN=admin,O=system:masters"
    assert certificate.not_valid_after_utc == NOW + datetime.timedelta(days=CLIENT_DAYS)
    authority = x509.load_pem_x509_certificate(ClientAuthority.open(tmp_path, NOW).certificate_pem)
    certificate.verify_directly_issued_by(authority)
