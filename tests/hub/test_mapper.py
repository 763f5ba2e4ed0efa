import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from build.internet import MAPPABLE, Internet, Site
from edged.errors import ProtocolError
from edged.hub import upnp
from edged.hub.mapper import PortMapper, fetched
from edged.hub.upnp import Call, Place
from edged.kit.address import Address
from edged.kit.log import Log

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
PORT = 7400
OUTER = f"{MAPPABLE}.6:{PORT}"  # of the first site after the relay
SCRIPT = """
import json, os, sys, trio
from edged.hub.mapper import PortMapper
from edged.kit.address import Address
from edged.kit.log import Log

def say(mapper):
    print(json.dumps([mapper.text, str(mapper.mapped)]), flush=True)

async def main():
    mapper = PortMapper(
        Address("0.0.0.0", 7400), changed=lambda: say(mapper), token=os.urandom, log=Log(level="error")
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mapper.run)
        await mapper.settled()
        say(mapper)
        while await trio.to_thread.run_sync(sys.stdin.readline):
            mapper.look()
        nursery.cancel_scope.cancel()

trio.run(main)
"""


class Node:
    """A mapper that runs in a place of its own."""

    def __init__(self, internet: Internet) -> None:
        argv = [sys.executable, "-c", SCRIPT]
        self._process = internet.popen("a", argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)

    def says(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def look(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        self._process.communicate(timeout=60)


def leads_in(internet: Internet) -> bool:
    """Whether the gateway has a rule for our port."""
    return f"dnat ip to 192.168.1.2:{PORT}" in internet.run("nat1", ["nft", "list", "chain", "inet", "nat", "mapped"]).stdout


@pytest.mark.root
@pytest.mark.tool("nft")
@pytest.mark.tool("miniupnpd")
@pytest.mark.parametrize("protocol", ["PCP", "UPnP"])
def test_a_real_gateway_maps_the_port_until_the_node_stops(protocol: Any) -> None:
    with Internet(Site("mapped", ("a",), (protocol,))) as internet:
        running = Node(internet)
        assert running.says() == [f"{protocol}: {OUTER}", OUTER]
        assert leads_in(internet)
        running.stop()
        assert not leads_in(internet)


@pytest.mark.root
@pytest.mark.tool("nft")
@pytest.mark.tool("miniupnpd")
def test_the_mapping_goes_and_comes_with_the_way_to_the_gateway() -> None:
    with Internet(Site("mapped", ("a",))) as internet:
        running = Node(internet)
        assert running.says() == running.says() == [f"PCP: {OUTER}", OUTER]
        internet.run("a", ["ip", "route", "del", "default"])
        running.look()
        assert running.says() == ["none: there is no gateway to ask", "None"]
        internet.run("a", ["ip", "route", "add", "default", "via", "192.168.1.1"])
        running.look()
        assert running.says() == [f"PCP: {OUTER}", OUTER]
        running.stop()


@pytest.mark.root
@pytest.mark.tool("nft")
def test_a_gateway_that_maps_nothing_and_a_node_with_a_public_address() -> None:
    with Internet(Site("easy", ("a",))) as internet:
        running = Node(internet)
        assert running.says() == ["none: gateway 192.168.1.1 offers none", "None"]
        running.stop()
    with Internet(Site("open", ("a",))) as internet:
        running = Node(internet)
        assert running.says() == ["none: there is no gateway to ask", "None"]
        running.stop()


async def answering(answer: bytes, nursery: trio.Nursery) -> tuple[int, list[bytes]]:
    """The port of a server that answers anything, and what it heard."""
    heard: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            heard.append(bytes(await stream.receive_some(65536)))
            try:
                await stream.send_all(answer)
            except trio.BrokenResourceError:
                return

    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    nursery.start_soon(trio.serve_listeners, serve, [listener])
    return listener.socket.getsockname()[1], heard


async def test_http_as_gateways_speak_it(nursery: trio.Nursery) -> None:
    port, heard = await answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", nursery)
    assert await fetched(HOST, Call(Place(port, "/x"))) == (200, b"abc")
    assert heard[0].startswith(b"GET /x HTTP/1.1\r\n")
    port, heard = await answering(b"HTTP/1.0 500 No\r\n\r\nwhy", nursery)
    assert await fetched(HOST, Call(Place(port, "/x"), '"a#B"', b"body")) == (500, b"why")
    assert b'"a#B"' in heard[0]
    assert heard[0].endswith(b"\r\n\r\nbody")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 9000,
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(upnp.MAX_BODY + 1),
    ],
    ids=range(5),
)
async def test_what_is_no_answer_by_http(nursery: trio.Nursery, answer: bytes) -> None:
    port, _ = await answering(answer, nursery)
    with pytest.raises((ProtocolError, trio.BrokenResourceError)):
        await fetched(HOST, Call(Place(port, "/x")))
    nursery.cancel_scope.cancel()


async def test_nobody_is_asked_for_a_socket_that_is_bound_elsewhere(quiet: Log) -> None:
    mapper = PortMapper(Address("127.0.0.1", PORT), changed=lambda: None, token=bytes, log=quiet)
    with trio.move_on_after(0):
        await mapper.run()
    assert mapper.text == "none: there is no gateway to ask"
