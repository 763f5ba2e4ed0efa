from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from edged.device.opcua.nodes import address
from edged.device.opcua.trust import Trust
from edged.errors import UnreachableError

URL = "opc.tcp://plc:4840"
PLC = address({"url": URL})


def test_own_certificate_is_made_once(tmp_path: Path) -> None:
    trust = Trust(tmp_path / "opcua")
    own = trust.own(PLC)
    assert trust.own(PLC).certificate == own.certificate
    assert own.uri.startswith("urn:")
    assert (tmp_path / "opcua" / "own-key.pem").stat().st_mode & 0o777 == 0o600
    lasts = own.certificate.not_valid_after_utc - own.certificate.not_valid_before_utc
    assert lasts.days > 19 * 365


def test_the_first_certificate_of_a_server_is_trusted_from_then_on(tmp_path: Path) -> None:
    trust = Trust(tmp_path / "opcua")
    first, other = (Trust(tmp_path / name).own(PLC).certificate for name in ("a", "b"))
    trust.check(PLC, other)  # nothing is known yet
    trust.check(PLC, first)
    trust.keep(PLC, first)
    trust.keep(PLC, other)  # too late
    trust.check(PLC, first)
    with pytest.raises(UnreachableError, match=f"{URL} shows another certificate than .*servers/.*replace that file"):
        trust.check(PLC, other)
    trust.check(address({"url": "opc.tcp://other:4840"}), other)


def test_a_file_with_the_servers_certificate(tmp_path: Path) -> None:
    trust = Trust(tmp_path / "opcua")
    first, other = (Trust(tmp_path / name).own(PLC).certificate for name in ("a", "b"))
    (tmp_path / "plc.pem").write_bytes(first.public_bytes(serialization.Encoding.PEM))
    known = address({"url": URL, "remoteCertificate": str(tmp_path / "plc.pem")})
    trust.check(known, first)
    with pytest.raises(UnreachableError, match="shows another certificate"):
        trust.check(known, other)


def test_files_that_are_none(tmp_path: Path) -> None:
    trust, text = Trust(tmp_path / "opcua"), tmp_path / "text"
    text.write_text("hello")
    own = Trust(tmp_path / "a")
    own.own(PLC)
    certificate = str(tmp_path / "a" / "own.der")

    def shown(certificate: str, key: str) -> None:
        trust.own(address({"url": URL, "certificate": certificate, "privateKey": key}))

    for files, words in (
        ((str(tmp_path / "gone"), "x"), "No such file"),
        ((str(text), "x"), "is no certificate"),
        ((certificate, str(tmp_path / "gone")), "No such file"),
        ((certificate, str(text)), "is no private key"),
    ):
        with pytest.raises(UnreachableError, match=words):
            shown(*files)
    (tmp_path / "opcua").write_text("in the way")
    with pytest.raises(UnreachableError, match="opcua"):
        trust.own(PLC)
