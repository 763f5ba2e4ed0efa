"""`edged status`: what the daemon of this machine is, is linked to, and runs."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from edged import config
from edged.cli import client, exits
from edged.errors import ProtocolError

TARGET = "/edged/v1/status"
SKEW_S = 600  # as in sync/clock.py: a clock further off is told
EVERY = "*"  # as in certificates (identity/certificates.py), which take a while to import


class RelayStatus(msgspec.Struct, frozen=True):
    """The link to the relay; `observed` is the address at which the relay sees this node."""

    url: str
    connected: bool
    observed: str | None = None


class PeerStatus(msgspec.Struct, frozen=True):
    """Another node of the group; without a path it is away."""

    node: str
    path: str | None = None
    rtt_ms: float | None = None
    address: str | None = None


class Status(msgspec.Struct, frozen=True):
    """What the daemon answers. `pods` and `devices` count by state; `vector` is what the store holds of each node.

    `members` are the nodes whose lease is alive, `holder` the one that leads; `clock_ahead_s` this machine's clock against the
    median of theirs. `trouble` is why the disk refuses writes, "" if it takes them; `damaged` counts registers that it lost.
    """

    node: str
    group: str
    version: str
    revision: int
    vector: dict[str, int]
    relay: RelayStatus | None
    peers: list[PeerStatus]
    pods: dict[str, Any] = {}
    devices: dict[str, Any] = {}
    trouble: str = ""
    damaged: int = 0
    observes: list[str] = []
    holder: str | None = None
    members: list[str] = []
    clock_ahead_s: float = 0.0

    @property
    def away(self) -> list[str]:
        """Who ought to be heard and is not: a node of the own group by its pulses, one of another group by its link."""
        relay = [f"the relay {self.relay.url}"] if self.relay is not None and not self.relay.connected else []
        heard = {*self.members, *(peer.node for peer in self.peers if "/" in peer.node and peer.path)}
        return relay + [f"node {peer.node}" for peer in self.peers if peer.node not in heard]

    @property
    def troubles(self) -> list[str]:
        """What is wrong here."""
        found = [f"{', '.join(self.away)} away"] if self.away else []
        if self.trouble:
            found.append(f"the store takes no writes: {self.trouble}")
        if abs(self.clock_ahead_s) > SKEW_S:
            found.append(_clock(self.clock_ahead_s))
        return found


class Table(NamedTuple):
    """Rows of text under a head."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def status(arguments: argparse.Namespace) -> int:
    """`edged status`: exit 0 when all is linked, 3 when the relay or a peer is away, 4 when no daemon answers."""
    answer = client.get(Path(config.load(arguments.config, os.environ).api.socket), TARGET)
    try:
        now = msgspec.convert(answer, Status)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"the daemon's status is not understood: {error}") from error
    if arguments.json:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    elif sys.stdout.isatty():
        _pleasant(now)
    else:
        sys.stdout.write("".join(f"{line}\n" for table in tables(now) for line in _plain(table)))
    for trouble in now.troubles:
        sys.stderr.write(f"edged: degraded: {trouble}\n")
    return exits.DEGRADED if now.troubles else exits.OK


def tables(now: Status) -> list[Table]:
    """The status in words: facts first, then a table of the peers."""
    facts = [
        ("node", f"{now.node} of group {now.group}, edged {now.version}"),
        *([("observes", _observes(now.observes))] if now.observes else []),
        ("leads", f"{now.holder or 'nobody'}; {len(now.members)} nodes are alive"),
        ("relay", _relay(now.relay)),
        ("store", _store(now)),
        ("pods", _counts(now.pods)),
        ("devices", _counts(now.devices)),
    ]
    shown = [Table(("", ""), facts)]
    if now.peers:
        rows = [
            (
                peer.node,
                peer.path or ("-" if peer.node in now.members else "away"),
                "" if peer.rtt_ms is None else f"{peer.rtt_ms:.1f} ms",
                peer.address or "",
            )
            for peer in now.peers
        ]
        shown.append(Table(("PEER", "PATH", "RTT", "ADDRESS"), rows))
    return shown


def _clock(ahead: float) -> str:
    hours = abs(ahead) / 3600
    words = f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} h"
    return f"the clock of this machine is {words} {'ahead of' if ahead > 0 else 'behind'} the others': set it"


def _observes(groups: Sequence[str]) -> str:
    return "every other group" if EVERY in groups else ", ".join(groups)


def _store(now: Status) -> str:
    damaged = f"; {now.damaged} registers damaged, asked of peers" if now.damaged else ""
    trouble = f"; takes no writes: {now.trouble}" if now.trouble else ""
    return f"revision {now.revision}; {_counts(now.vector)}{damaged}{trouble}"


def _relay(relay: RelayStatus | None) -> str:
    if relay is None:
        return "none"
    seen = f", seen as {relay.observed}" if relay.observed else ""
    return f"{relay.url}: {'connected' + seen if relay.connected else 'away'}"


def _counts(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(counts.items())) or "none"


def _plain(table: Table) -> list[str]:
    rows = [table.head, *table.rows] if any(table.head) else table.rows
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _pleasant(now: Status) -> None:
    from rich import box, console, table  # noqa: PLC0415  only a person needs it

    screen = console.Console(highlight=False)
    for part in tables(now):
        shown = table.Table(*part.head, show_header=any(part.head), box=box.SIMPLE_HEAD if any(part.head) else None)
        for row in part.rows:
            shown.add_row(*row, style="yellow" if "away" in row[1] else None)
        screen.print(shown)
