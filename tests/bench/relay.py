"""`relay`: what a relay alone carries between two nodes, by UDP and by WebSocket, on loopback, and what that costs it.

Two ends in this process stand for the nodes, with the real link to the relay and the real questions about addresses; the
relay is a process of its own. By UDP bursts are of BURSTS datagrams: large ones of a sender in full flow, small ones of a
paced one; a single datagram a burst shows what one costs.
"""

import datetime
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import trio
import trio.lowlevel

from edged.hub.forwarding import Forwarding
from edged.hub.relaylink import RelayLink
from edged.hub.relayspeech import Told, Welcomed
from edged.identity.authority import Authority
from edged.identity.node import Identity
from edged.kit.address import Address
from edged.kit.log import Log
from edged.kit.udp import MAX_RECEIVE, UdpSocket
from edged.wire.relay import Allotted, Deliver, Presence
from edged.wire.relayudp import is_ours
from tests.bench.figures import Figure
from tests.bench.idle import cpu_s

ROOT = Path(__file__).parents[2]
SECONDS = 4.0
DATAGRAM = 1350  # bytes
BURSTS = (44, 10, 1)
QUEUED = 512  # datagrams that wait for the relay's WebSocket before the next are offered: a quarter of what is dropped
READY_S = 20.0
MB = 1_000_000


class End:
    """A node, as far as a relay knows: its link and its UDP socket. `received` counts bytes."""

    def __init__(self, url: str, identity: Identity, peer: str) -> None:
        log, random = Log(level="error"), Random(peer)
        self.peer, self.received = peer, 0
        self.udp = UdpSocket(Address("127.0.0.1", 0))
        self.link = RelayLink([url], identity=identity, told=self._told, lost=lambda: None, random=random, log=log)
        self.present = False
        self.port: Address | None = None
        self.forwarding = Forwarding(
            self.udp,
            self.link,
            wanting=lambda: [peer] if self.present else [],
            observed=lambda: None,
            forwards=self._forwards,
            random=random,
        )

    def _told(self, message: Told) -> None:
        if isinstance(message, Deliver):
            self.received += sum(map(len, message.datagrams))
        elif isinstance(message, Welcomed):
            self.forwarding.welcomed(message)
        elif isinstance(message, Allotted):
            self.forwarding.allotted(message.node, message.port)
        elif isinstance(message, Presence):
            self.present = True
            self.forwarding.look()

    def _forwards(self, _node: str, address: Address | None) -> None:
        self.port = address

    async def answers(self) -> None:
        """Take the relay's answers by UDP, until the port is proved."""
        while self.port is None:
            await self.udp.readable()
            while (got := self.udp.receive()) is not None:
                if is_ours(got[0]):
                    self.forwarding.receive(got[0], got[2], trio.current_time())


def bench() -> Iterator[Figure]:
    """All figures, one relay after the other."""
    for burst in BURSTS:
        yield from trio.run(measured, partial(by_udp, burst=burst))
    yield from trio.run(measured, by_websocket)


async def measured(way: Any) -> list[Figure]:
    """The figures of one way."""
    with relay() as (pid, ends):
        async with trio.open_nursery() as nursery:
            for end in ends:
                for service in (end.link.run, end.forwarding.run, end.answers):
                    nursery.start_soon(service)
            with trio.fail_after(READY_S):
                while not all(end.port for end in ends):  # noqa: ASYNC110  a figure is worth no event
                    await trio.sleep(0.01)
            figures: list[Figure] = await way(pid, *ends)
            nursery.cancel_scope.cancel()
        return figures


async def by_udp(pid: int, one: End, other: End, *, burst: int) -> list[Figure]:
    """Bursts as fast as they are taken, from one end to the other."""
    over = time.monotonic() + SECONDS
    began, cpu = time.monotonic(), cpu_s(pid)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, send, one, burst, over)
        nursery.start_soon(trio.to_thread.run_sync, receive, other, over)
    return figures(f"udp_{burst}", other.received, time.monotonic() - began, cpu_s(pid) - cpu)


def send(end: End, burst: int, over: float) -> None:
    datagrams = [bytes(DATAGRAM)] * burst
    while time.monotonic() < over:
        assert end.port is not None
        end.udp.send(end.port, datagrams)


def receive(end: End, over: float) -> None:
    buffer = memoryview(bytearray(MAX_RECEIVE))
    while time.monotonic() < over:
        got = end.udp.receive_into(buffer)
        if got is None:
            time.sleep(0.0005)
        else:
            end.received += got[0]


async def by_websocket(pid: int, one: End, other: End) -> list[Figure]:
    """Datagrams that travel together as it comes, from one end to the other."""
    began, cpu = time.monotonic(), cpu_s(pid)
    datagrams = [bytes(DATAGRAM)] * 32
    with trio.move_on_after(SECONDS):
        while True:
            if len(one.link._waiting) < QUEUED:
                one.link.send(one.peer, datagrams)
            await trio.lowlevel.checkpoint()
    return figures("ws", other.received, time.monotonic() - began, cpu_s(pid) - cpu)


def figures(way: str, received: int, seconds: float, cpu: float) -> list[Figure]:
    note = f"{received / DATAGRAM / seconds:,.0f} datagrams/s"
    return [
        Figure("relay", f"{way}_mb_s", received / MB / seconds, "MB/s", note=note),
        Figure("relay", f"{way}_cpu_ms_per_mb", cpu * 1000 / (received / MB), "ms/MB"),
    ]


@contextmanager
def relay() -> Iterator[tuple[int, list[End]]]:
    """The process of a relay, and two ends of it that have not begun."""
    now = datetime.datetime.now(datetime.UTC)
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority.create(Path(folder, "authority"), "bench", now)
        certificate = Path(folder, "authority.crt")
        certificate.write_bytes(authority.certificate_pem)
        argv: list[str | Path] = [sys.executable, "-m", "relay", "run", "--listen", "127.0.0.1:0", "--authority", certificate]
        environ = {"EDGED_RELAY_UDP_RATE_MB_S": "100000.0", "EDGED_RELAY_UDP_RANGE": "0"}
        with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environ) as process:
            assert process.stderr is not None
            try:
                url = process.stderr.readline().partition("listening on ")[2].strip().strip('"}')
                a, b = (Identity(authority.issue(name, "site", (), now)) for name in ("gw-a", "gw-b"))
                ends = [End(url, a, "gw-b"), End(url, b, "gw-a")]
                with closing(ends[0].udp), closing(ends[1].udp):
                    yield process.pid, ends
            finally:
                process.terminate()
