import base64
import ssl
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from edged.hub import relaydial
from edged.hub.relaylink import RelayLink
from edged.kit.address import Address
from edged.kit.log import Log
from edged.kit.proxy import Proxy, parse_proxy
from relay.clients import Clients
from relay.core import Relay
from relay.server import Server, listen

DEADLINE_S = 30.0


class HttpProxy:
    """A real CONNECT proxy on loopback that wants `credentials`, if any; `asked` is what for it was asked."""

    def __init__(self, credentials: str = "") -> None:
        self.credentials = credentials
        self.asked: list[str] = []
        self.port = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, self._serve, 0)
            self.port = listeners[0].socket.getsockname()[1]
            task_status.started()

    async def _serve(self, client: trio.SocketStream) -> None:
        async with client:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await client.receive_some()
            lines = head.decode().split("\r\n")
            target = lines[0].split()[1]
            self.asked.append(target)
            expected = "Proxy-Authorization: Basic " + base64.b64encode(self.credentials.encode()).decode()
            if self.credentials and expected not in lines:
                await client.send_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
                return
            host, _, port = target.rpartition(":")
            async with await trio.open_tcp_stream(host, int(port)) as relay, trio.open_nursery() as nursery:
                await client.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                nursery.start_soon(self._copy, client, relay, nursery.cancel_scope)
                nursery.start_soon(self._copy, relay, client, nursery.cancel_scope)

    @staticmethod
    async def _copy(source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
        try:
            async for data in source:
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        both.cancel()

    def proxy(self, credentials: str = "") -> Proxy:
        return parse_proxy(f"http://{credentials}{'@' * bool(credentials)}127.0.0.1:{self.port}", "hub.proxy")


@pytest.fixture
def link(acme: Any, nursery: trio.Nursery) -> Callable[..., RelayLink]:
    def linking(url: str, proxy: Proxy | None = None, log: Log | None = None, ipv6: bool = False) -> RelayLink:
        made = RelayLink(
            [url],
            identity=acme.identity("gw-a"),
            told=lambda _: None,
            lost=lambda: None,
            random=Random(1),
            log=log or Log(level="error"),
            proxy=proxy,
            ipv6=ipv6,
        )
        nursery.start_soon(made.run)
        return made

    return linking


async def test_a_relay_is_reached_through_a_proxy_and_its_udp_straight(
    acme: Any, nursery: trio.Nursery, start_relay: Any, until: Any, link: Any
) -> None:
    relay = await start_relay(acme.verifier)
    server = HttpProxy("user:secret")
    await nursery.start(server.run)
    through = link(relay.url, server.proxy("user:secret"))
    await until(lambda: through.url is not None)
    assert server.asked == [relay.url.removeprefix("ws://")]
    assert through.udp_host == "127.0.0.1"


async def test_tls_goes_through_a_proxy_end_to_end(
    acme: Any, nursery: trio.Nursery, until: Any, link: Any, tmp_path: Path, quiet: Log
) -> None:
    bundle = acme.authority.issue_relay("relay-1", ["127.0.0.1"], acme.now)
    (tmp_path / "crt").write_bytes(bundle.certificate)
    (tmp_path / "key").write_bytes(bundle.key)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    relay = Relay(acme.verifier)
    listeners = await listen(Address("127.0.0.1", 0))
    clients = Clients(relay, random=Random(1), log=quiet)
    await nursery.start(Server(relay, clients, listeners, tls, most=10, log=quiet).run)
    server = HttpProxy()
    await nursery.start(server.run)
    through = link(f"wss://127.0.0.1:{listeners[0].socket.getsockname()[1]}", server.proxy())
    await until(lambda: through.url is not None)
    assert len(server.asked) == 1


async def test_a_proxy_that_refuses_is_named_in_one_line_and_not_hurried(
    acme: Any, nursery: trio.Nursery, start_relay: Any, until: Any, link: Any
) -> None:
    relay = await start_relay(acme.verifier)
    server = HttpProxy("user:secret")
    await nursery.start(server.run)
    said = StringIO()
    through = link(relay.url, server.proxy("user:guessed"), Log(stream=said))
    await until(lambda: "retrying" in said.getvalue())
    assert "refuses: 407 Proxy Authentication Required: it wants another user or password" in through.reason
    assert "retrying in 30.0 s" in said.getvalue()
    assert "guessed" not in said.getvalue()
    assert said.getvalue().count("\n") == 1


async def test_a_proxy_that_is_away_is_named(start_relay: Any, until: Any, link: Any, acme: Any) -> None:
    relay = await start_relay(acme.verifier)
    through = link(relay.url, parse_proxy("127.0.0.1:1", "hub.proxy"))
    await until(lambda: "proxy http://127.0.0.1:1 (hub.proxy): " in through.reason)


async def test_a_variable_that_names_no_proxy_is_the_reason(until: Any, link: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://proxy:1080")
    away = link("wss://relay.example.com")
    await until(lambda: "https_proxy: expected http://" in away.reason)


async def test_udp_goes_where_the_connection_leads_and_past_a_proxy_where_dns_says(acme: Any, start_relay: Any) -> None:
    relay = await start_relay(acme.verifier)
    url = urlsplit(relay.url)
    stream = await trio.open_tcp_stream("127.0.0.1", url.port)
    async with stream:
        four = relaydial.RelayDial(acme.identity("gw-a"), proxy=None, ipv6=False)
        assert await four.udp_host(url, stream) == "127.0.0.1"
        proxied = relaydial.RelayDial(acme.identity("gw-a"), proxy=parse_proxy("127.0.0.1:1", ""), ipv6=False)
        assert await proxied.udp_host(urlsplit("wss://localhost:1"), stream) == "127.0.0.1"
        assert await proxied.udp_host(urlsplit("wss://[::1]:1"), stream) is None
