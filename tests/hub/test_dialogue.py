import time
from hashlib import sha256
from typing import Any

import pytest

from edged.errors import DeniedError, ProtocolError
from edged.hub.dialogue import Dialler, Doorkeeper
from edged.identity.certificates import Subject
from edged.identity.node import Identity
from edged.wire.codec import VERSION
from edged.wire.peer import Accepted, Candidates, Credit, Hello, Nonce, Proof, proof_input


def dialler(identity: Identity, verifier: Any, name: str = "gw-b") -> Dialler:
    return Dialler(name, identity=identity, verifier=verifier, wall=time.time)


def keeper(identity: Identity, verifier: Any, admitted: list[Subject] | None = None, seed: int = 7) -> Doorkeeper:
    admit = (lambda _subject: None) if admitted is None else admitted.append
    return Doorkeeper(identity=identity, verifier=verifier, wall=time.time, token=lambda n: bytes([seed]) * n, admit=admit)


def test_the_whole_dialogue(acme: Any) -> None:
    a, b = acme.identity("gw-a"), acme.identity("gw-b")
    admitted: list[Subject] = []
    client, server = dialler(a, acme.verifier), keeper(b, acme.verifier, admitted)
    assert server.begin(b"") == []
    (hello,) = client.begin(b.certificate_der)
    assert hello == Hello(VERSION)
    (nonce,) = server.receive(hello)
    assert isinstance(nonce, Nonce)
    (proof,) = client.receive(nonce)
    assert isinstance(proof, Proof)
    assert server.peer is None
    (accepted,) = server.receive(proof)
    assert client.receive(accepted) == []
    assert (client.peer, server.peer) == ("gw-b", "gw-a")
    assert client.probe_key == server.probe_key == bytes([7]) * 32
    assert [subject.name for subject in admitted] == ["gw-a"]
    for half in (client, server):
        with pytest.raises(ProtocolError, match="out of turn"):
            half.receive(nonce)


def test_a_node_of_another_group_is_called_by_both_names(acme: Any) -> None:
    a, b = acme.identity("gw-a"), acme.identity("gw-a", "yard")
    admitted: list[Subject] = []
    client, server = dialler(a, acme.verifier, "yard/gw-a"), keeper(b, acme.verifier, admitted)
    (nonce,) = server.receive(*client.begin(b.certificate_der))
    (accepted,) = server.receive(*client.receive(nonce))
    client.receive(accepted)
    assert (client.peer, server.peer) == ("yard/gw-a", "site/gw-a")
    assert admitted == [server.subject]
    assert client.subject == Subject("acme", "node", "yard", "gw-a")


def test_words_out_of_turn(acme: Any) -> None:
    a, b = acme.identity("gw-a"), acme.identity("gw-b")
    messages = [Hello(VERSION), Nonce(VERSION, bytes(32)), Proof(b"", b""), Accepted(bytes(32)), Candidates([]), Credit(4, 5)]
    for message in messages:
        early = dialler(a, acme.verifier)
        with pytest.raises(ProtocolError):
            early.receive(message)
        client, server = dialler(a, acme.verifier), keeper(b, acme.verifier)
        client.begin(b.certificate_der)
        for half, expected in ((client, Nonce), (server, Hello)):
            if not isinstance(message, expected):
                with pytest.raises(ProtocolError):
                    half.receive(message)


def test_sizes_and_versions(acme: Any) -> None:
    a, b = acme.identity("gw-a"), acme.identity("gw-b")
    with pytest.raises(DeniedError, match="version 99"):
        keeper(b, acme.verifier).receive(Hello(99))
    client = dialler(a, acme.verifier)
    client.begin(b.certificate_der)
    with pytest.raises(DeniedError, match="version 2"):
        client.receive(Nonce(2, bytes(32)))
    with pytest.raises(ProtocolError, match="nonce of 31"):
        client.receive(Nonce(VERSION, bytes(31)))
    client.receive(Nonce(VERSION, bytes(32)))
    with pytest.raises(ProtocolError, match="key of 0"):
        client.receive(Accepted(b""))


def test_whom_the_client_refuses(acme: Any, evil: Any) -> None:
    a = acme.identity("gw-a")
    relay = acme.authority.issue_relay("gw-b", ("gw-b",), acme.now)  # a relay that calls itself like a node
    for certificate, why in (
        (acme.identity("gw-c").certificate_der, "answered where node gw-b was dialled"),
        (acme.identity("gw-b", "yard").certificate_der, "answered where node gw-b was dialled"),
        (evil.identity("gw-b").certificate_der, "not a certificate of this fleet"),
        (relay.certificate, "is no node"),
        (a.certificate_der, "our own name"),
        (b"", "not a certificate"),
    ):
        with pytest.raises(DeniedError, match=why):
            dialler(a, acme.verifier).begin(certificate)


def test_whom_the_server_refuses(acme: Any, evil: Any) -> None:
    a, b = acme.identity("gw-a"), acme.identity("gw-b")
    good = proof_input(bytes([7]) * 32, sha256(b.certificate_der).digest())
    other_server = proof_input(bytes([7]) * 32, sha256(acme.identity("gw-c").certificate_der).digest())
    other_nonce = proof_input(bytes([8]) * 32, sha256(b.certificate_der).digest())
    for proof, why in (
        (Proof(a.certificate_der, a.sign(other_server)), "not by the certificate's key"),
        (Proof(a.certificate_der, a.sign(other_nonce)), "not by the certificate's key"),
        (Proof(a.certificate_der, acme.identity("gw-c").sign(good)), "not by the certificate's key"),
        (Proof(a.certificate_der, b"nonsense"), "not by the certificate's key"),
        (Proof(evil.identity("gw-a").certificate_der, evil.identity("gw-a").sign(good)), "not a certificate of this fleet"),
        (Proof(b.certificate_der, b.sign(good)), "our own name"),
    ):
        admitted: list[Subject] = []
        server = keeper(b, acme.verifier, admitted)
        server.receive(Hello(VERSION))
        with pytest.raises(DeniedError, match=why):
            server.receive(proof)
        assert (server.peer, admitted) == (None, [])
