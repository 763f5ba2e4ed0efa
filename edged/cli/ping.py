"""`edged ping`: whether another node is there, by which path, and how fast. A shell."""

import argparse
import os
import sys
import time
from pathlib import Path
from urllib.parse import quote

import msgspec

from edged import config
from edged.cli import client, exits
from edged.errors import InvalidError, ProtocolError

TARGET = "/edged/v1/ping/"
COUNT = 10
EVERY_S = 1.0
WAIT_S = 25.0  # for the daemon, which gives a node 10 s for a link and 10 s for an answer
DIRECT = ("lan", "direct")


class Pong(msgspec.Struct, frozen=True):
    """The answer to one question; `address` is the peer's, when no relay is between."""

    node: str
    path: str
    rtt_ms: float
    address: str | None = None

    def __str__(self) -> str:
        where = f" ({self.address})" if self.address else ""
        return f"{self.node} answers by {self.path}{where} in {self.rtt_ms:.1f} ms"


def ping(arguments: argparse.Namespace) -> int:
    """`edged ping`: exit 0 when the node answered, 3 when it was to be direct and is not, 4 when it cannot be reached."""
    if arguments.count < 1:
        raise InvalidError(f"--count {arguments.count}: expected 1 or more")
    path = Path(config.load(arguments.config, os.environ).api.socket)
    for number in range(arguments.count):
        if number:
            time.sleep(EVERY_S)
        pong = _asked(path, arguments.node)
        sys.stdout.write(f"{pong}\n")
        sys.stdout.flush()
        if arguments.until_direct and pong.path in DIRECT:
            return exits.OK
    if arguments.until_direct:
        sys.stderr.write(f"edged: degraded: no direct path to node {arguments.node}\n")
        return exits.DEGRADED
    return exits.OK


def _asked(path: Path, node: str) -> Pong:
    answer = client.get(path, TARGET + quote(node), wait=WAIT_S)
    try:
        return msgspec.convert(answer, Pong)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"the daemon's answer is not understood: {error}") from error
