"""Hubs in namespaces, one process each, forked from one that has imported all: hubs.py < SPECIFICATION > EVENTS

The specification is a JSON object, node -> {"state": directory, "namespace": name, "listen": address, "relays": [URL]}; with
"peers": {node: [address]} it knows these, with
"fetch": [FROM, MB] a node fetches that much as soon as its link to FROM is direct. Each event is a line of JSON with `node`,
`peer` and `at`, the time of CLOCK_MONOTONIC, which all programs of a machine share:

    up                        the hub runs (no peer)
    port_mapping: TEXT        what the gateway maps for it is something else (no peer)
    path: KIND                the path of the link to the peer is another one
    echo: true                the first byte sent on a stream to the peer is back
    fetched: BYTES            all of it is here; `exact`, the longest wait for a piece in `gap_s`, and `took_s`
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import trio

from edged.errors import EdgedError
from edged.hub.hub import Hub
from edged.hub.stream import LinkStream
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.kit.log import Log
from edged.wire.codec import framed
from edged.wire.peer import ANSWER, Opened, Tunnel

CLONE_NEWNET = 0x40000000  # sched.h
LOOK_S = 0.01  # a path has no event
MB = 1_000_000
PATTERN = Random(7).randbytes(1 << 20)
RETRY_S = 0.05


def say(node: str, peer: str, **what: object) -> None:
    line = json.dumps({"node": node, "peer": peer, "at": time.monotonic(), **what}) + "\n"
    os.write(sys.stdout.fileno(), line.encode())  # whole: several processes write to one pipe


async def serve(_peer: str, opening: Tunnel, stream: LinkStream) -> None:
    """`echo`, or `bytes`: `port` megabytes of the pattern."""
    await stream.send_all(framed(ANSWER.encode(Opened())))
    if opening.service == "echo":
        async for data in stream:
            await stream.send_all(data)
    rest = opening.port * MB
    while opening.service == "bytes" and rest:
        piece = PATTERN[:rest]
        await stream.send_all(piece)
        rest -= len(piece)
    await stream.send_eof()


async def greet(hub: Hub, node: str, peer: str) -> None:
    """A byte to the peer and back, as soon as the link lets it."""
    try:
        async with await hub.open_stream(peer, Tunnel("lab", "echo", 1, "")) as stream:
            await stream.send_all(b"x")
            await stream.receive_some(1)
    except (EdgedError, trio.BrokenResourceError) as error:  # the other end's dial won: the next link is greeted, too
        sys.stderr.write(f"{node}: {peer}: {error}\n")
    else:
        say(node, peer, echo=True)


async def fetch(hub: Hub, node: str, peer: str, megabytes: int) -> None:
    began = last = time.monotonic()
    got, gap, exact = 0, 0.0, True
    async with await hub.open_stream(peer, Tunnel("lab", "bytes", megabytes, "")) as stream:
        async for data in stream:
            now = time.monotonic()
            gap, last = max(gap, now - last), now
            at = got % len(PATTERN)
            whole = PATTERN[at:] + PATTERN[: max(0, len(data) - (len(PATTERN) - at))]
            exact = exact and data == whole[: len(data)]
            got += len(data)
    say(node, peer, fetched=got, exact=exact, gap_s=gap, took_s=time.monotonic() - began)


async def watch(hub: Hub, node: str, wanted: tuple[str, int] | None, nursery: trio.Nursery) -> None:
    paths: dict[str, str] = {}
    since: dict[str, float] = {}
    mapping = ""
    while True:
        if mapping != hub.statistics().port_mapping:
            mapping = hub.statistics().port_mapping
            say(node, "", port_mapping=mapping)
        for link in hub.statistics().links:
            if since.get(link.node) != link.since:
                since[link.node] = link.since
                nursery.start_soon(greet, hub, node, link.node)
            if paths.get(link.node) != link.path:
                paths[link.node] = link.path
                say(node, link.node, path=link.path)
            if wanted is not None and link.node == wanted[0] and link.path in ("lan", "direct"):
                nursery.start_soon(fetch, hub, node, *wanted)
                wanted = None
        await trio.sleep(LOOK_S)


async def run(node: str, spec: dict[str, Any]) -> None:
    identity = Identity.load(Path(spec["state"]))
    hub = Hub(
        identity=identity,
        verifier=Verifier(identity.authority_pem),
        relays=spec["relays"],
        insecure_relays=True,
        listen=spec["listen"],
        peers=spec.get("peers", {}),
        handlers={Tunnel: serve},
        log=Log(level="warning", node=node),
        random=Random(node),
        port_mapping=True,
    )
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(hub.run)
            say(node, "", up=True)
            nursery.start_soon(watch, hub, node, spec.get("fetch"), nursery)
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break


def forked(node: str, spec: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    with Path("/run/netns", spec["namespace"]).open() as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {spec['namespace']}")
    trio.run(run, node, spec)
    os._exit(0)


def end(children: list[int]) -> None:
    for child in children:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.kill(child, signal.SIGTERM)


if __name__ == "__main__":
    children = [forked(node, spec) for node, spec in json.load(sys.stdin).items()]
    signal.signal(signal.SIGTERM, lambda *_: end(children))
    for child in children:
        os.waitpid(child, 0)
