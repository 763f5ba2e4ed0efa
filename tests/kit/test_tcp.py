import datetime
import ssl
from pathlib import Path

import pytest
import trio

from edged.identity.authority import Authority
from edged.kit.address import Address
from edged.kit.tcp import open_stream, secured, why

HERE = "127.0.0.1"


async def echo(stream: trio.abc.Stream) -> None:
    async with stream:
        try:
            async for data in stream:
                await stream.send_all(data)
        except trio.BrokenResourceError:
            pass  # the client trusts us not


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's at 127.0.0.1, and one that trusts it."""
    now = datetime.datetime.now(datetime.UTC)
    authority = Authority.create(tmp_path / "authority", "test", now)
    bundle = authority.issue_relay("server", [HERE], now)
    both = tmp_path / "both.pem"
    both.write_bytes(bundle.key + bundle.certificate)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(both)
    return server, ssl.create_default_context(cadata=authority.certificate_pem.decode())


async def test_a_connection_is_in_the_clear_or_secured(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, client = tls
    async with trio.open_nursery() as nursery:
        (plain,) = await trio.open_tcp_listeners(0, host=HERE)
        (safe,) = await trio.open_tcp_listeners(0, host=HERE)
        nursery.start_soon(trio.serve_listeners, echo, [plain, trio.SSLListener(safe, server, https_compatible=True)])
        for listener, context in ((plain, None), (safe, client)):
            async with await open_stream(Address(HERE, listener.socket.getsockname()[1]), context) as stream:
                await stream.send_all(b"ping")
                assert await stream.receive_some(4) == b"ping"
                assert isinstance(stream, trio.SSLStream) is (context is not None)
        nursery.cancel_scope.cancel()


async def test_who_is_not_trusted_is_left_and_said(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, _ = tls
    async with trio.open_nursery() as nursery:
        (safe,) = await trio.open_tcp_listeners(0, host=HERE)
        nursery.start_soon(trio.serve_listeners, echo, [trio.SSLListener(safe, server)])
        stream = await trio.open_tcp_stream(HERE, safe.socket.getsockname()[1])
        with pytest.raises(trio.BrokenResourceError) as error:
            await secured(stream, ssl.create_default_context(), HERE)
        assert "certificate verify failed" in why(error.value)
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")
        nursery.cancel_scope.cancel()


async def test_nobody_there_is_said_without_numbers() -> None:
    with pytest.raises(OSError, match="all attempts") as error:
        await open_stream(Address(HERE, 1))
    assert why(error.value) == "Error connecting to ('127.0.0.1', 1): Connection refused"
    assert why(ValueError("as it is")) == "as it is"
