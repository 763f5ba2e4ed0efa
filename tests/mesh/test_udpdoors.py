import socket
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import trio

from edged.errors import UnreachableError
from edged.kit.log import Log
from edged.mesh import udpdoors
from edged.mesh.balancer import Balancer
from edged.mesh.datagrams import Datagrams
from edged.mesh.names import Name
from edged.mesh.table import UDP, Called, Port, Table, build
from edged.mesh.udpdoors import INSTEAD, Place, UdpDoors
from edged.model.core import Pod, Service, ServicePort

WEB = Called(Name("default", "web"), Port(UDP, 53))
ADDRESS = "127.96.78.1"


@pytest.fixture
async def doors(
    nursery: trio.Nursery, log: Log, make_service: Callable[..., Service], make_pod: Callable[..., Pod], echo: int
) -> UdpDoors[str]:
    table: Table = build([make_service(ports=(ServicePort(53, "dns", "UDP", echo),))], [make_pod(ip="127.0.0.2")], "gw-a")

    async def open_stream(node: str, opening: object, head: bytes) -> Any:
        raise UnreachableError("no links here")

    datagrams = Datagrams(lambda: table, Balancer("gw-a", Random(1)), open_stream, log)
    made: UdpDoors[str] = UdpDoors(datagrams)
    await nursery.start(datagrams.run)
    await nursery.start(made.run)
    return made


async def ask(port: int) -> bytes:
    with trio.fail_after(60), trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        await client.sendto(b"hello", (ADDRESS, port))
        return bytes(await client.recv(100))


async def test_what_is_wanted_is_open_and_no_more(doors: UdpDoors[str]) -> None:
    assert doors.update({"a": Place(ADDRESS, 0, WEB), "b": Place(ADDRESS, 0, WEB)}) == []
    first = doors.port("a")
    for key in ("a", "b"):
        assert (await ask(doors.port(key))).endswith(b"hello")
    assert doors.update({"a": Place(ADDRESS, 0, WEB)}) == []
    assert (doors.port("a"), doors.port("b")) == (first, 0), "what stays is not opened anew"


async def test_a_port_that_is_taken_is_served_higher_and_freed_when_it_goes(doors: UdpDoors[str], free_port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((ADDRESS, free_port))
        assert doors.update({"a": Place(ADDRESS, free_port, WEB)}) == []
        assert doors.port("a") == free_port + INSTEAD
        assert doors.update({"a": Place(ADDRESS, free_port, WEB), "b": Place("198.51.100.1", 0, WEB)}) == [
            "default/web:53/UDP cannot be served on 198.51.100.1: Cannot assign requested address"
        ]
    doors.update({})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind((ADDRESS, free_port + INSTEAD))


async def test_doors_are_bounded(doors: UdpDoors[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udpdoors, "MAX_DOORS", 2)
    assert doors.update({key: Place(ADDRESS, 0, WEB) for key in "abc"}) == [
        "1 UDP ports of services are not served, at most 2 are"
    ]
