import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from edged.errors import InvalidError
from edged.hub import relaylink
from edged.hub.relaylink import RelayLink
from edged.hub.relayspeech import Told, Welcomed
from edged.kit.address import Address
from edged.kit.log import Log
from edged.wire.relay import Absence, Deliver, Presence
from relay.clients import Clients
from relay.core import Relay
from relay.server import Server, listen

DEADLINE_S = 30.0


class Node:
    """A relay link that remembers what it was told."""

    def __init__(self, urls: list[str], identity: Any, log: Log) -> None:
        self.told: list[Told] = []
        self.losses = 0
        self.link = RelayLink(urls, identity=identity, told=self.told.append, lost=self._lost, random=Random(1), log=log)

    def _lost(self) -> None:
        self.losses += 1

    async def heard(self, kind: type[Any]) -> Any:
        with trio.fail_after(DEADLINE_S):
            while not any(isinstance(message, kind) for message in self.told):  # noqa: ASYNC110
                await trio.sleep(0.01)
        found = next(message for message in self.told if isinstance(message, kind))
        self.told.remove(found)
        return found


@asynccontextmanager
async def node(url: str | list[str], identity: Any, log: Log) -> AsyncIterator[Node]:
    made = Node([url] if isinstance(url, str) else url, identity, log)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.link.run)
        yield made
        nursery.cancel_scope.cancel()


async def test_nodes_hear_of_each_other_and_forward(acme: Any, start_relay: Any, quiet: Log) -> None:
    relay = await start_relay(acme.verifier)
    async with node(relay.url, acme.identity("gw-a"), quiet) as a:
        assert (await a.heard(Welcomed)).observed.startswith("127.0.0.1:")
        assert a.link.url == relay.url
        async with node(relay.url, acme.identity("gw-b"), quiet) as b:
            assert (await a.heard(Presence)).node == "gw-b"
            assert (await b.heard(Presence)).node == "gw-a"
            a.link.send("gw-b", [b"one", b"two"])
            got: list[bytes] = []
            while len(got) < 2:
                delivered = await b.heard(Deliver)
                assert delivered.sender == "gw-a"
                got += delivered.datagrams
            assert got == [b"one", b"two"]
        assert (await a.heard(Absence)).node == "gw-b"


async def test_it_comes_back_after_the_relay(acme: Any, start_relay: Any, until: Any, quiet: Log) -> None:
    relay = await start_relay(acme.verifier)
    async with node(relay.url, acme.identity("gw-a"), quiet) as a:
        await a.heard(Welcomed)
        await relay.stop()
        await until(lambda: a.link.url is None)
        assert a.losses == 1
        a.link.send("gw-b", [b"nowhere"])
        assert len(a.link._waiting) == 0
        await start_relay(acme.verifier, int(relay.url.rpartition(":")[2]))
        await a.heard(Welcomed)


async def test_the_next_relay_is_tried_when_one_is_away(acme: Any, start_relay: Any, quiet: Log) -> None:
    relay = await start_relay(acme.verifier)
    async with node(["ws://127.0.0.1:1", relay.url], acme.identity("gw-a"), quiet) as a:
        await a.heard(Welcomed)
        assert a.link.url == relay.url


async def test_a_refusal_is_said_and_retried_slowly(acme: Any, evil: Any, start_relay: Any, until: Any) -> None:
    relay = await start_relay(acme.verifier)
    said = StringIO()
    async with node(relay.url, evil.identity("gw-a"), Log(stream=said)) as a:
        await until(lambda: "retrying" in said.getvalue())
        assert "not a certificate of this fleet" in said.getvalue()
        assert "retrying in 30.0 s" in said.getvalue()
        assert a.link.url is None
        assert a.losses == 0


async def test_who_speaks_no_websocket_is_an_outage(
    acme: Any, nursery: trio.Nursery, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaylink, "CONNECT_S", 1.0)

    async def nonsense(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"220 mail.example.org ESMTP\r\n" * 10)
            await stream.receive_some()

    listeners = await nursery.start(
        trio.serve_tcp,
        nonsense,
        0,
    )
    port = listeners[0].socket.getsockname()[1]
    said = StringIO()
    async with node(f"ws://127.0.0.1:{port}", acme.identity("gw-a"), Log(stream=said)):
        await until(lambda: said.getvalue().count("retrying") == 2)
    nursery.cancel_scope.cancel()


async def serve_tls(relay_of: Any, acme: Any, nursery: trio.Nursery, folder: Path) -> str:
    """A relay of `acme` whose certificate is of another fleet's authority; its URL."""
    bundle = relay_of.authority.issue_relay("relay-1", ["localhost", "127.0.0.1"], datetime.datetime.now(datetime.UTC))
    pair = folder / f"{relay_of.authority.fleet}.pem"
    pair.write_bytes(bundle.key + bundle.certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair)
    listeners = await listen(Address("127.0.0.1", 0))
    relay, log = Relay(acme.verifier), Log(level="error")
    server = Server(relay, Clients(relay, random=Random(1), log=log), listeners, context, most=10, log=log)
    await nursery.start(server.run)
    return f"wss://127.0.0.1:{listeners[0].socket.getsockname()[1]}"


async def test_tls_is_checked_against_the_fleet(
    acme: Any, evil: Any, nursery: trio.Nursery, until: Any, tmp_path: Path
) -> None:
    theirs, ours = [await serve_tls(fleet, acme, nursery, tmp_path) for fleet in (evil, acme)]
    said = StringIO()
    async with node([theirs, ours], acme.identity("gw-a"), Log(stream=said)) as a:
        await a.heard(Welcomed)
        assert a.link.url == ours
        assert "certificate verify failed" in said.getvalue()
    nursery.cancel_scope.cancel()


async def test_public_authorities_are_loaded_only_for_a_public_relay(
    acme: Any, evil: Any, nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[ssl.SSLContext] = []
    load = ssl.SSLContext.load_default_certs

    def loading(context: ssl.SSLContext) -> None:
        loaded.append(context)
        load(context)

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", loading)
    public = tmp_path / "public.crt"
    public.write_bytes(evil.authority.certificate_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    for fleet, times in ((acme, 0), (evil, 1)):
        url = await serve_tls(fleet, acme, nursery, tmp_path)
        loaded.clear()
        async with node(url, acme.identity("gw-a"), Log(level="error")) as a:
            await a.heard(Welcomed)
        assert len(loaded) == times
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ws://relay.example.org", "without TLS"),
        ("http://relay", "expected wss"),
        ("wss://", "expected wss"),
        ("wss://x:y", "Port|port"),
    ],
)
def test_urls_that_cannot_be_used(acme: Any, quiet: Log, url: str, why: str) -> None:
    with pytest.raises(InvalidError, match=why):
        Node([url], acme.identity("gw-a"), quiet)


def test_plain_ws_to_others_when_told_so(acme: Any, quiet: Log) -> None:
    RelayLink(
        ["ws://10.0.0.1:80"], identity=acme.identity("gw-a"), told=print, lost=print, random=Random(1), log=quiet, insecure=True
    )
