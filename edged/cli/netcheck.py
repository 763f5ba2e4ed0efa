"""`edged netcheck`: what the network lets this node do."""
# ruff: noqa: PLC0415  what looks without a daemon takes a while to import, and mostly there is one

import argparse
import json
import os
import sys
from pathlib import Path
from random import SystemRandom
from typing import Any

import msgspec

from edged import config
from edged.cli import client, exits
from edged.cli.tables import Table, show
from edged.errors import ProtocolError, UnreachableError
from edged.hub.findings import NetCheck

TARGET = "/edged/v1/netcheck"
NATS = {
    "open": "none",
    "easy": "easy: one address for all destinations, direct links can be made",
    "hard": "hard: another address for each destination, links to nodes behind such ones go through the relay",
    "blocked": "unknown: nothing comes back by UDP",
    "unknown": "unknown: no relay that speaks UDP takes this node",
}


def netcheck(arguments: argparse.Namespace) -> int:
    """`edged netcheck`: exit 0 when UDP reaches the relay and back, 3 when links must do without."""
    settings = config.load(arguments.config, os.environ)
    try:
        answer = client.get(Path(settings.api.socket), TARGET)
    except UnreachableError:
        answer = _alone(settings)
    try:
        found = msgspec.convert(answer, NetCheck)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"what the daemon found is not understood: {error}") from error
    if arguments.json:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        show(tables(found), marked=lambda row: "blocked" in row[1] or "away" in row[1])
    for trouble in found.troubles:
        sys.stderr.write(f"edged: degraded: {trouble}\n")
    return exits.DEGRADED if found.troubles else exits.OK


def tables(found: NetCheck) -> list[Table]:
    """What was found, in words: facts first, then the relays."""
    facts = [
        ("UDP", {True: "works", False: "blocked", None: "not known"}[found.udp]),
        ("NAT", NATS.get(found.nat, found.nat)),
        ("seen as", ", ".join(found.observed) or "not known"),
        ("own addresses", ", ".join(found.addresses) or "none"),
        ("IPv6", "yes" if found.ipv6 else "no"),
        ("port mapping", found.port_mapping),
    ]
    shown = [Table(("", ""), facts)]
    if found.relays:
        rows = [
            (
                relay.url,
                "connected" if relay.connected else "away" if relay.error else "reachable",
                _ms(relay.latency_ms),
                _ms(relay.udp_ms),
                relay.error,
            )
            for relay in found.relays
        ]
        shown.append(Table(("RELAY", "STATE", "TCP", "UDP", ""), rows))
    return shown


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def _alone(settings: config.Config) -> Any:
    """The same without a daemon, by the node's identity and settings."""
    import trio

    from edged.hub.netcheck import Alone
    from edged.identity.node import Identity
    from edged.kit.address import parse_address
    from edged.kit.log import Log
    from edged.kit.proxy import chosen_proxy

    identity = Identity.load(settings.state_dir)
    alone = Alone(
        identity,
        settings.hub.relays or identity.relays,
        parse_address(settings.hub.listen),
        proxy=chosen_proxy(settings.hub.proxy, settings.hub.proxy_password_file),
        maps=settings.hub.port_mapping,
        random=SystemRandom(),
        log=Log(level="error"),
    )
    return msgspec.to_builtins(trio.run(alone.look))
