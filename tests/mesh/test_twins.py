import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random

import pytest
import trio
import trio.testing

from edged.errors import UnreachableError
from edged.kit.log import Log
from edged.mesh import streams, twins
from edged.mesh.balancer import Balancer
from edged.mesh.datagrams import Datagrams
from edged.mesh.names import Name
from edged.mesh.proxy import Proxy
from edged.mesh.table import TCP, Called, Door, Endpoint, Entry, Port, Served, Table
from edged.mesh.twins import Twins

WEB = Name("default", "web")
ADDRESS = "127.96.77.1"


class Now:
    """The table as the entrance sees it, changed by a test."""

    def __init__(self) -> None:
        self.table = self.with_ports()

    def with_ports(self, **services: list[int]) -> Table:
        entries = {}
        for number, (name, ports) in enumerate(services.items(), 1):
            endpoints = (Endpoint("pod", "gw-a", "127.0.0.1", self.pod),) if hasattr(self, "pod") else ()
            key = Name("default", name)
            served = {Port(TCP, port): Served("", 0, endpoints) for port in ports}
            entries[key] = Entry(key, f"127.96.77.{number}", headless=False, ports=served, hosts=())
        addressed = {entry.address: entry for entry in entries.values()}
        doors = {Door(e.address, TCP, port.number): Called(e.name, port) for e in entries.values() for port in e.ports}
        self.table = Table("gw-a", "127.96.0.0/16", entries, addressed, frozenset({"default"}), (), doors)
        return self.table


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
async def entrance(nursery: trio.Nursery, now: Now, log: Log) -> AsyncIterator[Twins]:
    async def open_stream(node: str, opening: object, head: bytes) -> trio.abc.HalfCloseableStream:
        raise UnreachableError("no links here")

    proxy = Proxy(lambda: now.table, Balancer("gw-a", Random(1)), open_stream, log)
    datagrams = Datagrams(lambda: now.table, Balancer("gw-a", Random(1)), open_stream, log)
    await nursery.start(datagrams.run)
    made = Twins(lambda: now.table, proxy, datagrams, log)
    await nursery.start(made.run)
    return made


async def asks(address: str, port: int) -> bytes:
    with trio.fail_after(60):
        async with await trio.open_tcp_stream(address, port) as client:
            await client.send_all(b"hello")
            await client.send_eof()
            return await client.receive_some(100)


async def test_each_service_port_is_listened_on(entrance: Twins, now: Now, shout: int, free_port: int) -> None:
    now.pod = shout
    now.with_ports(web=[free_port, free_port + 1], db=[free_port])
    await entrance.update()
    assert entrance.listeners == {
        (WEB, free_port): (ADDRESS, free_port),
        (WEB, free_port + 1): (ADDRESS, free_port + 1),
        (Name("default", "db"), free_port): ("127.96.77.2", free_port),
    }
    for address, port in entrance.listeners.values():
        assert await asks(address, port) == b"HELLO"


async def test_a_port_that_is_gone_is_closed_and_its_connections_live(
    entrance: Twins, now: Now, shout: int, free_port: int, until: Callable[..., Awaitable[None]]
) -> None:
    now.pod = shout
    now.with_ports(web=[free_port])
    await entrance.update()
    with trio.fail_after(60):
        async with await trio.open_tcp_stream(ADDRESS, free_port) as client:
            await client.send_all(b"still ")
            await until(lambda: entrance._proxy.statistics.open == 1)
            now.with_ports()
            await entrance.update()
            assert entrance.listeners == {}
            with pytest.raises(OSError):
                await trio.open_tcp_stream(ADDRESS, free_port)
            await client.send_all(b"here")
            await client.send_eof()
            assert await client.receive_some(100) == b"STILL HERE"


@pytest.fixture
def privileged(monkeypatch: pytest.MonkeyPatch, free_port: int) -> Callable[[int], None]:
    """Ports up to a number may not be had, as below 1024 for an ordinary user; root would get them."""
    real: Callable[[str, int], Awaitable[socket.socket]] = streams.listen

    def forbid(least: int) -> None:
        async def listen(address: str, port: int) -> socket.socket:
            if port < least:
                raise PermissionError(13, "Permission denied")
            return await real(address, port)

        monkeypatch.setattr(streams, "listen", listen)

    return forbid


async def test_a_forbidden_port_is_served_8000_higher_and_said_once(
    entrance: Twins, now: Now, shout: int, free_port: int, privileged: Callable[[int], None], said: Callable[[], str]
) -> None:
    privileged(free_port + 1)
    now.pod = shout
    now.with_ports(web=[free_port])
    await entrance.update()
    assert entrance.listeners == {(WEB, free_port): (ADDRESS, free_port + 8000)}
    assert await asks(ADDRESS, free_port + 8000) == b"HELLO"
    await entrance.update()
    assert said().count("Permission denied") == 1
    assert f"port {free_port} of service default/web is served on {ADDRESS}:{free_port + 8000}" in said()


async def test_a_port_taken_on_all_addresses_is_served_8000_higher(entrance: Twins, now: Now, free_port: int) -> None:
    with socket.create_server(("", free_port)):
        now.with_ports(web=[free_port])
        await entrance.update()
        assert entrance.listeners == {(WEB, free_port): (ADDRESS, free_port + 8000)}


async def test_a_port_that_may_not_be_had_at_all_is_said_and_the_others_served(
    entrance: Twins, now: Now, free_port: int
) -> None:
    with socket.create_server(("", free_port)), socket.create_server(("", free_port + 8000)):
        now.with_ports(web=[free_port, free_port + 1])
        with pytest.raises(UnreachableError, match=f"default/web cannot be served on {ADDRESS}:{free_port}: .*in use"):
            await entrance.update()
        assert entrance.listeners == {(WEB, free_port + 1): (ADDRESS, free_port + 1)}
    await entrance.update()
    assert (WEB, free_port) in entrance.listeners, "the next try succeeds"


async def test_more_ports_than_a_process_may_have_files(
    entrance: Twins, now: Now, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twins, "MAX_LISTENERS", 2)
    now.with_ports(web=[free_port])
    await entrance.update()
    now.with_ports(web=[free_port], many=[free_port, free_port + 1, free_port + 2])
    for _ in range(2):
        with pytest.raises(UnreachableError, match="2 ports of services are not served, at most 2 are: default/many and on"):
            await entrance.update()
        assert set(entrance.listeners) == {(WEB, free_port), (Name("default", "many"), free_port)}
    now.with_ports(many=[free_port, free_port + 1])
    await entrance.update()
    assert len(entrance.listeners) == 2, "there is room again"


async def test_the_port_instead_never_hides_a_port_of_the_service(
    entrance: Twins, now: Now, free_port: int, privileged: Callable[[int], None]
) -> None:
    privileged(free_port + 1)
    now.with_ports(web=[free_port])
    await entrance.update()
    assert entrance.listeners == {(WEB, free_port): (ADDRESS, free_port + 8000)}
    now.with_ports(web=[free_port, free_port + 8000])
    with pytest.raises(UnreachableError, match="Permission denied"):
        await entrance.update()
    assert entrance.listeners == {(WEB, free_port + 8000): (ADDRESS, free_port + 8000)}


async def test_it_can_run_again(now: Now, free_port: int, log: Log, entrance: Twins) -> None:
    again = Twins(lambda: now.table, entrance._proxy, entrance._udp._datagrams, log)
    now.with_ports(web=[free_port])
    for _ in range(2):
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                await nursery.start(again.run)
                await again.update()
                assert again.listeners == {(WEB, free_port): (ADDRESS, free_port)}
                nursery.cancel_scope.cancel()
        assert again.listeners == {}
