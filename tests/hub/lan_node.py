"""A hub with discovery in the namespace that this program is started in, run by test_discovery.py: lan_node.py STATE_DIR.

Prints a line of JSON whenever links changed and all of them are direct: who is linked, and the time of CLOCK_MONOTONIC,
which all programs of a machine share. Ends at SIGTERM as a daemon does. With `quiet` it neither sends nor hears beacons.
"""

import json
import signal
import sys
import time
from pathlib import Path
from random import Random

import trio

from edged.hub.hub import Hub
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.kit.log import Log


def say(linked: frozenset[str]) -> None:
    sys.stdout.write(json.dumps({"linked": sorted(linked), "at": time.monotonic()}) + "\n")
    sys.stdout.flush()


async def main(state: Path, *, discovery: bool) -> None:
    identity = Identity.load(state)
    hub = Hub(
        identity=identity,
        verifier=Verifier(identity.authority_pem),
        relays=(),
        listen="0.0.0.0:7400",
        peers={},
        handlers={},
        log=Log(level="debug", node=identity.name),
        random=Random(1),
        discovery=discovery,
        state_dir=state,
    )
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(hub.run)
            nursery.start_soon(watch, hub)
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break


async def watch(hub: Hub) -> None:
    linked = hub.linked
    while True:
        while any(link.path != "lan" for link in hub.statistics().links):  # noqa: ASYNC110  a path has no event
            await trio.sleep(0.01)
        say(linked)
        linked = await hub.links_changed(linked)


if __name__ == "__main__":
    trio.run(lambda: main(Path(sys.argv[1]), discovery="quiet" not in sys.argv[2:]))
