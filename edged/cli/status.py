"""`edged status`: what the daemon of this machine is, is linked to, and runs."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edged import config
from edged.cli import client, exits
from edged.cli.tables import Table, show
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
    """Another node; without a path there is no link. `sent` and `received` are the link's bytes by kind of path."""

    node: str
    path: str | None = None
    rtt_ms: float | None = None
    address: str | None = None
    sent: dict[str, int] = {}
    received: dict[str, int] = {}


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
    port_mapping: str = ""

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


def status(arguments: argparse.Namespace) -> int:
    """`edged status`: exit 0 when all is linked, 3 when the relay or a peer is away, 4 when no daemon answers."""
    answer = client.get(Path(config.load(arguments.config, os.environ).api.socket), TARGET)
    try:
        now = msgspec.convert(answer, Status)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"the daemon's status is not understood: {error}") from error
    if arguments.json:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        show([peers(now)] if arguments.peers else tables(now), marked=lambda row: "away" in row[1])
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
        *([("port mapping", now.port_mapping)] if now.port_mapping else []),
        ("store", _store(now)),
        ("pods", _counts(now.pods)),
        ("devices", _counts(now.devices)),
    ]
    shown = [Table(("", ""), facts)]
    if now.peers:
        shown.append(Table(("PEER", "PATH", "RTT", "ADDRESS"), [_peer(now, peer) for peer in now.peers]))
    return shown


def peers(now: Status) -> Table:
    """The peers alone, with what their links carried by which kind of path."""
    rows = [(*_peer(now, peer), _bytes(peer.sent), _bytes(peer.received)) for peer in now.peers]
    return Table(("PEER", "PATH", "RTT", "ADDRESS", "SENT", "RECEIVED"), rows)


def _peer(now: Status, peer: PeerStatus) -> tuple[str, ...]:
    path = peer.path or ("-" if peer.node in now.members else "away")
    return (peer.node, path, "" if peer.rtt_ms is None else f"{peer.rtt_ms:.1f} ms", peer.address or "")


def _bytes(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count / 1e6:.1f} MB" for kind, count in sorted(counts.items()))


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
