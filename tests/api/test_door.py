import ssl
import stat
from contextlib import aclosing
from typing import Any

import pytest
import trio

from edged.api.who import ADMINS
from edged.errors import InvalidError


async def test_a_client_with_a_certificate_of_the_admins(served: Any) -> None:
    client = await served.dial_tls(served.context(ADMINS))
    async with aclosing(client):
        reply = await client("GET", "/api/v1/namespaces/default")
        assert (reply.status, reply.json["metadata"]["name"]) == (200, "default")


async def test_a_client_that_is_no_admin_may_nothing(served: Any) -> None:
    client = await served.dial_tls(served.context("viewers", user="eve"))
    async with aclosing(client):
        reply = await client("GET", "/api/v1/namespaces")
        assert (reply.status, reply.json["reason"]) == (403, "Forbidden")
        assert 'User "eve"' in reply.json["message"]


async def test_a_client_without_a_certificate(served: Any) -> None:
    """It may ask for health and version; else it is told who it is not, before its body is read."""
    client = await served.dial_tls(served.context())
    async with aclosing(client):
        assert (await client("GET", "/readyz")).body == b"ok"
        assert (await client("GET", "/version")).json["major"] == "1"
        assert (await client("GET", "/metrics")).status == 401
        reply = await client("POST", "/api/v1/namespaces", {"metadata": {"name": "x"}})
        assert (reply.status, reply.json["reason"]) == (401, "Unauthorized")


async def test_a_certificate_of_another_authority_is_refused(served: Any) -> None:
    with pytest.raises((trio.BrokenResourceError, ConnectionError)):
        client = await served.dial_tls(served.context(ADMINS, foreign=True))
        async with aclosing(client):
            await client("GET", "/healthz")
            pytest.fail("it was let in")
    assert '"level": "error"' not in served.logged.getvalue()


async def test_the_fleets_own_certificates_open_no_api(served: Any) -> None:
    context = served.context()
    file = served.directory / "node.pem"
    file.write_bytes(served.identity.key_pem + served.identity.certificate_pem)
    context.load_cert_chain(file)
    with pytest.raises((trio.BrokenResourceError, ConnectionError)):
        client = await served.dial_tls(context)
        async with aclosing(client):
            await client("GET", "/healthz")
            pytest.fail("it was let in")


async def test_old_tls_is_refused(served: Any) -> None:
    context = served.context(ADMINS)
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(trio.BrokenResourceError):
        await served.dial_tls(context)


async def test_a_client_that_never_shakes_hands_is_let_go(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.api.door.HANDSHAKE_S", 0.2)
    stream = await trio.open_tcp_stream(served.address.host, served.address.port)
    async with stream:
        with trio.fail_after(20):
            assert await stream.receive_some() == b""


async def test_the_unix_socket_is_private_and_takes_the_place_of_an_old_one(served: Any) -> None:
    mode = served.socket_path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.root
async def test_another_user_is_nobody_on_the_unix_socket(served: Any) -> None:
    """Even when somebody opened the socket's mode: the kernel says who is at the other end."""
    served.directory.chmod(0o755)
    served.socket_path.chmod(0o666)
    script = (
        "import socket,os,sys; s=socket.socket(socket.AF_UNIX); fd=os.open(sys.argv[1], os.O_PATH|os.O_DIRECTORY);"
        "os.setuid(65534); s.connect(f'/proc/self/fd/{fd}/edged.sock');"
        "s.sendall(b'GET /api/v1/namespaces HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n'); print(s.recv(100).decode())"
    )
    with trio.fail_after(30):
        done = await trio.run_process(["python3", "-c", script, str(served.directory)], capture_stdout=True)
    assert done.stdout.startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("door", ["port", "socket"])
async def test_a_door_that_cannot_be_opened_is_said_so(served: Any, door: str) -> None:
    port = served.address.port if door == "port" else 0
    path = served.directory / "second.sock" if door == "port" else served.directory / "none" / "x.sock"
    with pytest.raises(InvalidError, match=str(port) if door == "port" else str(path)):
        await served.another(port, path).run()
    client = await served.dial()
    async with aclosing(client):
        assert (await client("GET", "/healthz")).status == 200
