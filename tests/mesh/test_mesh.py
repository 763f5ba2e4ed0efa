import socket
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from dnslib import RCODE, DNSRecord

from edged.errors import UnreachableError
from edged.kit.executor import Inline
from edged.kit.log import Log
from edged.mesh.hostdns import HostDns
from edged.mesh.mesh import Mesh
from edged.mesh.names import Name
from edged.mesh.resolvers import receive_message
from edged.model.core import Pod, Service, ServicePort
from edged.model.objects import Key, dump, key
from edged.store.store import Store, open_store
from edged.store.writes import Create, Delete

WEB = Name("default", "web")
Put = Callable[..., Awaitable[None]]
MakeService = Callable[..., Service]
MakePod = Callable[..., Pod]
Until = Callable[[Callable[[], bool]], Awaitable[None]]


async def nowhere(node: str, opening: object, head: bytes) -> trio.abc.HalfCloseableStream:
    raise UnreachableError(f"no link to {node}")


def make(store: Store, log: Log, open_stream: Any = nowhere, **settings: Any) -> Mesh:
    return Mesh(store=store, open_stream=open_stream, root=False, log=log, random=Random(1), **settings)


@pytest.fixture
async def start(nursery: trio.Nursery, store: Store, log: Log, upstream: Any) -> Callable[..., Awaitable[Mesh]]:
    """A mesh without root on the test's store; each in a loopback network of its own."""

    async def start(node: str = "gw-a", open_stream: Any = nowhere, loopback: str = "127.96.0.0/16") -> Mesh:
        dns = loopback.replace("0.0/16", "0.53:0")
        mesh = make(store, log, open_stream, node=node, dns=dns, resolvers=(upstream.address,), loopback=loopback)
        await nursery.start(mesh.run)
        return mesh

    return start


Start = Callable[..., Awaitable[Mesh]]


async def ask(mesh: Mesh, name: str, *, tcp: bool = False) -> DNSRecord:
    query = bytes(DNSRecord.question(name).pack())
    with trio.fail_after(60):
        if tcp:
            async with await trio.open_tcp_stream(*mesh.dns) as stream:
                await stream.send_all(len(query).to_bytes(2, "big") + query)
                return DNSRecord.parse(await receive_message(stream))
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            await sock.connect(mesh.dns)
            await sock.send(query)
            return DNSRecord.parse(await sock.recv(65535))


async def call(mesh: Mesh, port: int, receive_all: Callable[..., Awaitable[bytes]]) -> bytes:
    """As a client does: the name, its address, a connection there."""
    address = str((await ask(mesh, "web.default.svc.cluster.local")).a.rdata)
    assert mesh.listeners[WEB, port] == (address, port)
    with trio.fail_after(60):
        async with await trio.open_tcp_stream(address, port) as client:
            await client.send_all(b"hello")
            await client.send_eof()
            return await receive_all(client)


async def test_a_call_by_name_on_one_node(
    start: Start,
    put: Put,
    make_service: MakeService,
    make_pod: MakePod,
    shout: int,
    receive_all: Callable[..., Awaitable[bytes]],
    free_port: int,
) -> None:
    await put(make_service(ports=(ServicePort(free_port, target_port=shout),)), make_pod(ip="127.0.0.1"))
    mesh = await start()
    assert mesh.dns[0] == "127.96.0.53"
    assert await call(mesh, free_port, receive_all) == b"HELLO"
    assert mesh.statistics()["services"] == {"named": 1, "addressed": 1, "ports": 1}
    assert mesh.statistics()["proxy"]["accepted"] == 1
    assert mesh.statistics()["dns"]["queries"] == 1


async def test_a_call_by_name_to_another_node(
    start: Start,
    put: Put,
    make_service: MakeService,
    make_pod: MakePod,
    link: Callable[..., Any],
    shout: int,
    receive_all: Callable[..., Awaitable[bytes]],
    free_port: int,
) -> None:
    await put(make_service(ports=(ServicePort(free_port, target_port=shout),)), make_pod("web-1", "gw-b", "127.0.0.2"))
    there = await start("gw-b", loopback="127.97.0.0/16")
    here = await start("gw-a", link(there.serve_tunnel))
    assert await call(here, free_port, receive_all) == b"HELLO"
    assert there.statistics()["tunnel"]["accepted"] == 1
    assert await call(there, free_port, receive_all) == b"HELLO", "the same service on its own node"
    assert there.statistics()["tunnel"]["accepted"] == 1


async def test_a_call_to_an_exported_service_of_another_group(
    start: Start,
    put: Put,
    store: Store,
    make_service: MakeService,
    make_pod: MakePod,
    link: Callable[..., Any],
    shout: int,
    receive_all: Callable[..., Awaitable[bytes]],
    until: Until,
    free_port: int,
) -> None:
    service = make_service(ports=(ServicePort(free_port, target_port=shout),))
    await put(service, make_pod("web-1", "gw-x", "127.0.0.2"))
    there = await start("gw-x", loopback="127.97.0.0/16")
    answers = {"node": "gw-x", "pod": "web-1", "ready": True, "ports": [{"port": free_port, "targetPort": shout}]}
    imported = {
        **{"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport"},
        "metadata": {"name": "web.yard", "namespace": "default"},
        "spec": {"ports": [{"port": free_port, "protocol": "TCP", "name": ""}], "type": "ClusterSetIP"},
    }
    import_key = Key("serviceimports.multicluster.x-k8s.io", "default", "web.yard")
    clock = count(1)
    async with open_store(":memory:", origin="gw-a", stamp=lambda: next(clock), executor=Inline()) as other:
        await other.write(Create(import_key, "u", dump(imported), dump({"endpoints": [answers]})))
        here = make(
            *(other, Log()),
            node="gw-a",
            group="site",
            open_stream=link(there.serve_tunnel, "site/gw-a"),
            dns="127.96.0.53:0",
        )
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                await nursery.start(here.run)
                [(address, port)] = here.listeners.values()
                async with await trio.open_tcp_stream(address, port) as client:
                    with pytest.raises(trio.BrokenResourceError):
                        await client.receive_some(1)
                assert there.statistics()["tunnel"]["refused_undeclared"] == 1, "it is not exported"
                await put(make_service(ports=service.spec.ports, annotations={"edged.io/export": "true"}))
                await until(lambda: there._table.entries[WEB].exported)
                async with await trio.open_tcp_stream(address, port) as client:
                    await client.send_all(b"hello")
                    await client.send_eof()
                    assert await receive_all(client) == b"HELLO"
                nursery.cancel_scope.cancel()


async def test_the_store_is_followed(
    start: Start,
    put: Put,
    store: Store,
    make_service: MakeService,
    make_pod: MakePod,
    shout: int,
    until: Until,
    receive_all: Callable[..., Awaitable[bytes]],
    free_port: int,
) -> None:
    mesh = await start()
    assert (await ask(mesh, "web.default.svc.cluster.local")).header.rcode == RCODE.NXDOMAIN
    await put(make_service(ports=(ServicePort(free_port, target_port=shout),)), make_pod(ip="127.0.0.1"))
    await until(lambda: (WEB, free_port) in mesh.listeners)
    assert await call(mesh, free_port, receive_all) == b"HELLO"
    await put(make_service(ports=(ServicePort(free_port + 1, target_port=shout),)))
    await until(lambda: set(mesh.listeners) == {(WEB, free_port + 1)})
    assert await call(mesh, free_port + 1, receive_all) == b"HELLO"
    await store.write(Delete(key(Service, "web", "default")))
    await until(lambda: not mesh.listeners)
    assert (await ask(mesh, "web.default.svc.cluster.local")).header.rcode == RCODE.NXDOMAIN


async def test_other_names_are_forwarded_over_udp_and_tcp(start: Start) -> None:
    mesh = await start()
    for tcp in (False, True):
        assert str((await ask(mesh, "example.org", tcp=tcp)).a.rdata) == "192.0.2.0"


async def test_a_conflict_of_addresses_is_said_once(
    start: Start, put: Put, make_service: MakeService, make_pod: MakePod, said: Callable[[], str], until: Until
) -> None:
    await put(make_service("aaa"), make_service("bbb"))
    mesh = await start()
    assert said().count("service default/bbb has the address 9.251.1.2 of default/aaa") == 1
    await put(make_service("ccc", ip="9.251.1.3"))
    await until(lambda: len(mesh.listeners) == 2)
    assert said().count("create it again") == 1


async def test_a_service_that_cannot_be_served_is_tried_again(
    start: Start, put: Put, make_service: MakeService, monkeypatch: pytest.MonkeyPatch, said: Callable[[], str], until: Until
) -> None:
    monkeypatch.setattr("edged.mesh.mesh.RETRY_S", 0.05)
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("edged.mesh.twins.HIGHEST", port)
        await put(make_service(ports=(ServicePort(port),)))
        mesh = await start()
        assert f"default/web cannot be served on 127.96.1.2:{port}: " in said()
        await trio.sleep(0.2)
        assert mesh.listeners == {}
    await until(lambda: (WEB, port) in mesh.listeners)
    assert said().count("cannot be served") == 1


async def test_it_stops_and_runs_again(store: Store, log: Log, put: Put, make_service: MakeService, free_port: int) -> None:
    await put(make_service(ports=(ServicePort(free_port),)))
    mesh = make(store, log, node="gw-a", dns="127.96.0.53:0")
    for _ in range(2):
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                await nursery.start(mesh.run)
                assert (WEB, free_port) in mesh.listeners
                nursery.cancel_scope.cancel()
        assert mesh.listeners == {}


async def test_a_dns_address_that_is_not_ours_is_unreachable(store: Store, log: Log) -> None:
    mesh = make(store, log, node="gw-a", dns="198.51.100.1:53")
    with pytest.RaisesGroup(pytest.RaisesExc(UnreachableError, match="DNS cannot listen"), flatten_subgroups=True):
        await mesh.run()


async def test_dns_is_at_the_twin_when_nothing_else_is_said(store: Store, log: Log) -> None:
    assert str(make(store, log, node="gw-a", loopback="127.97.0.0/16").dns) == "127.97.0.53:10053"


async def test_the_host_asks_us_while_we_run(store: Store, log: Log, tmp_path: Path) -> None:
    host = HostDns(tmp_path, ("true",))
    mesh = make(store, log, node="gw-a", dns="127.96.0.53:0", host_dns=host)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(mesh.run)
            assert f"DNS={mesh.dns}\n" in host.path.read_text()
            nursery.cancel_scope.cancel()
    assert not host.path.exists()


async def test_a_host_that_cannot_be_told_is_no_outage(
    store: Store, log: Log, tmp_path: Path, said: Callable[[], str], nursery: trio.Nursery
) -> None:
    mesh = make(store, log, node="gw-a", dns="127.96.0.53:0", host_dns=HostDns(tmp_path, ("false",)))
    await nursery.start(mesh.run)
    assert "programs of this host resolve no names of services: false: exit 1; containers do" in said()
    assert (await ask(mesh, "cluster.local")).header.rcode == RCODE.NOERROR


async def test_names_are_known_with_the_first_answer(
    store: Store, log: Log, put: Put, make_service: MakeService, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked while the server is not told yet what there is, it would say that there is nothing."""
    await put(make_service())
    mesh = make(store, log, node="gw-a", dns="127.96.0.53:0")
    known = []
    bind = mesh._dns._bind

    async def look() -> Any:
        known.append(Name("default", "web") in mesh._current().entries)
        return await bind()

    monkeypatch.setattr(mesh._dns, "_bind", look)
    await nursery.start(mesh.run)
    assert known == [True]
