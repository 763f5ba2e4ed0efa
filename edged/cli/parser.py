"""The command line: commands, options, and an example of each."""

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edged import __version__
from edged.cli import backup, cleanup, fleet, netcheck, ping, run, settings, status

EXITS = "exit codes: 0 ok, 1 failed, 2 usage or settings, 3 degraded, 4 unreachable, 5 denied"

EXAMPLES = """\
examples:
  edged fleet init acme --name acme                       on a machine that is kept safe
  edged fleet issue gw-a --group site --relay wss://relay.example.com --dir acme
  edged join gw-a.bundle                                  on the gateway, once
  edged run                                               the daemon; systemd does this
  edged kubeconfig > kubeconfig && kubectl --kubeconfig kubeconfig get nodes
  edged status
"""

Command = Callable[[argparse.Namespace], int]


def parser() -> argparse.ArgumentParser:
    """The parser of `edged`; each command's namespace has `run`, which takes the namespace and returns the exit code."""
    top = argparse.ArgumentParser(
        prog="edged",
        description="One daemon for an edge gateway: the gateways of a site are the cluster.",
        epilog=f"{EXAMPLES}\n{EXITS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"edged {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _node_commands(commands)
    _device_commands(commands)
    _fleet_commands(commands)
    _config_commands(commands)
    _add(commands, "version", run.version, "print the version", "edged version")
    return top


def _node_commands(commands: Any) -> None:
    _configurable(_add(commands, "run", run.run, "run the daemon", "edged run", "edged run --config /tmp/gw-a.toml"))
    _configurable(
        _add(
            *(commands, "cleanup", cleanup.cleanup, "take away what a killed daemon left in the host"),
            "systemctl stop edged && edged cleanup",
        )
    )
    join = _add(
        *(commands, "join", fleet.join, "make this machine a node, by its join bundle"),
        *("edged join gw-a.bundle", "ssh authority cat gw-a.bundle | edged join -"),
    )
    join.add_argument("bundle", type=Path, metavar="BUNDLE", help="file that `edged fleet issue` made; - is stdin")
    join.add_argument("--force", action="store_true", help="replace the identity that is there")
    _configurable(join)
    kubeconfig = _add(
        *(commands, "kubeconfig", fleet.kubeconfig, "print a kubeconfig for this node's API"),
        *("edged kubeconfig > kubeconfig", "edged kubeconfig --server https://192.0.2.7:6443 -o gw-a.kubeconfig"),
        "edged kubeconfig --group site-1 > site-1.kubeconfig",
    )
    kubeconfig.add_argument("--server", metavar="URL", help="how the API is reached (default: by api.listen)")
    kubeconfig.add_argument("--user", default="admin", metavar="NAME", help="name in the certificate (default admin)")
    kubeconfig.add_argument("--group", metavar="GROUP", help="for reading the objects of a group that this node observes")
    kubeconfig.add_argument("-o", "--output", type=Path, metavar="FILE", help="write FILE (mode 0600) instead of stdout")
    _configurable(kubeconfig)
    asked = _add(
        *(commands, "status", status.status, "show what the daemon is linked to and runs"),
        *("edged status", "edged status --json | jq .peers"),
    )
    asked.add_argument("--json", action="store_true", help="print what the daemon answers, as JSON")
    asked.add_argument("--peers", action="store_true", help="the peers alone, and the bytes of their links by path")
    _configurable(asked)
    checked = _add(
        *(commands, "netcheck", netcheck.netcheck, "look what the network lets this node do: UDP, NAT, IPv6, relays"),
        *("edged netcheck", "edged netcheck --json | jq .nat"),
    )
    checked.add_argument("--json", action="store_true", help="print what was found as JSON")
    _configurable(checked)
    pinged = _add(
        *(commands, "ping", ping.ping, "ask another node whether it is there, and say by which path and how fast it answers"),
        *("edged ping gw-b", "edged ping gw-b --until-direct", "edged ping site-2/gw-x"),
    )
    pinged.add_argument("node", metavar="NODE", help="its name; GROUP/NAME for one of another group")
    pinged.add_argument("--count", type=int, default=ping.COUNT, metavar="N", help=f"how often (default {ping.COUNT})")
    pinged.add_argument(
        "--until-direct", action="store_true", help="as long as it goes through a relay; exit 3 if it still does in the end"
    )
    _configurable(pinged)

    _store_commands(commands)


def _store_commands(commands: Any) -> None:
    saved = _add(
        *(commands, "backup", backup.backup, "write the node's store into a file, while the daemon runs or not"),
        *("edged backup /media/usb/gw-a.backup", "edged backup --with-key - | ssh vault 'umask 77; cat > gw-a.backup'"),
    )
    saved.add_argument("file", type=Path, metavar="FILE", help="written anew, mode 0600, when all is there; - is stdout")
    saved.add_argument("--with-key", action="store_true", help="put the key of the secrets in: whoever has FILE reads them")
    _configurable(saved)
    restored = _add(
        *(commands, "restore", backup.restore, "put a backup in the place of the node's store; the daemon must not run"),
        *("systemctl stop edged && edged restore /media/usb/gw-a.backup && systemctl start edged",),
    )
    restored.add_argument("file", type=Path, metavar="FILE", help="what `edged backup` wrote; - is stdin")
    _configurable(restored)


def _device_commands(commands: Any) -> None:
    group = commands.add_parser("device", help="list, read, set, watch, call and try devices")
    made = group.add_subparsers(metavar="COMMAND", required=True)
    listed = _add(
        made, "ls", _late("device", "ls"), "list the devices of the group", "edged device ls", "edged device ls --json"
    )
    shown = _add(made, "get", _late("device", "get"), "show a device: its state and its properties", "edged device get meter")
    put = _add(
        *(made, "set", _late("device", "put"), "say what a property should be, and wait until the device has it"),
        *("edged device set thermometer setpoint=22.5", "edged device set pump valve=30 on=true --wait 60"),
    )
    watched = _add(
        *(made, "watch", _late("device", "watch"), "print values as they change"),
        *("edged device watch meter", "edged device watch --json | jq .value"),
    )
    told = _add(
        *(made, "history", _late("devicehistory", "history"), "show what a device said, from all nodes that served it"),
        *("edged device history meter power --since 1h", "edged device history meter --since 7d --csv > meter.csv"),
    )
    called = _add(
        *(made, "call", _late("device", "call"), "call a method of a device (its spec.methods)"),
        *("edged device call pump Open valve=30", "edged device call robot Home"),
    )
    tried = _add(
        *(
            made,
            "test",
            _late("devicetest", "test"),
            "connect to a device from this machine and read it once; nothing is written",
        ),
        *("edged device test meter.yaml", "edged device test meter"),
    )
    for command in (shown, put, told, called, tried):
        command.add_argument("device", metavar="DEVICE", help="its name" + ("; or a manifest" if command is tried else ""))
    watched.add_argument("device", nargs="?", default="", metavar="DEVICE", help="its name (default: all devices)")
    put.add_argument("values", nargs="+", metavar="PROPERTY=VALUE", help="what it should be")
    put.add_argument("--wait", type=float, default=10.0, metavar="S", help="seconds for the device (default 10)")
    told.add_argument("property", nargs="?", default="", metavar="PROPERTY", help="one property (default: all)")
    told.add_argument("--since", default="1h", metavar="TIME", help="how far back: 90s, 15m, 6h, 7d (default 1h)")
    told.add_argument("--limit", type=int, default=10_000, metavar="N", help="at most the newest N readings (10000)")
    told.add_argument("--csv", action="store_true", help="print CSV")
    called.add_argument("method", metavar="METHOD", help="its name in spec.methods")
    called.add_argument("arguments", nargs="*", metavar="VALUE", help="PROPERTY=VALUE, or values in the order of the method")
    for command in (listed, shown, watched, told, called):
        command.add_argument("--json", action="store_true", help="print JSON")
    for command in (shown, put, watched, told, called, tried):
        command.add_argument("-n", "--namespace", default="default", metavar="NAME", help="its namespace (default: default)")
    for command in (listed, shown, put, watched, told, called, tried):
        _configurable(command)


def _fleet_commands(commands: Any) -> None:
    group = commands.add_parser("fleet", help="make a fleet's authority, join bundles, relay certificates")
    made = group.add_subparsers(metavar="COMMAND", required=True)
    init = _add(made, "init", fleet.init, "make a fleet's authority", "edged fleet init acme --name acme")
    init.add_argument("directory", type=Path, metavar="DIR", help="directory of the authority: whoever has it makes nodes")
    init.add_argument("--name", default="fleet", help="name of the fleet, a DNS label (default fleet)")
    issue = _add(
        *(made, "issue", fleet.issue, "make a join bundle for a node"),
        *("edged fleet issue gw-a --group site --relay wss://relay.example.com --dir acme -o gw-a.bundle",),
        "edged fleet issue obs --group cloud --observe site-1 --observe site-2 --relay wss://relay.example.com --dir acme",
    )
    issue.add_argument("name", metavar="NAME", help="name of the node, a DNS label")
    issue.add_argument("--group", required=True, help="the node's group: the gateways of one site")
    issue.add_argument("--relay", action="append", default=[], metavar="URL", help="wss://host[:port]; may be repeated")
    issue.add_argument(
        "--limited", action="store_true", help="it writes for itself alone: no API for people, no scheduling for the group"
    )
    issue.add_argument(
        "--observe",
        action="append",
        default=[],
        metavar="GROUP",
        help="it holds copies of another group's objects, Secrets too, for reading; may be repeated; '*' is every group",
    )
    issue.add_argument("-o", "--output", type=Path, metavar="FILE", help="the bundle (default NAME.bundle); - is stdout")
    relay = _add(
        *(made, "relay", fleet.relay, "make a relay's key and certificate"),
        *("edged fleet relay relay-1 --host relay.example.com --dir acme -o /etc/edged/relay",),
    )
    relay.add_argument("name", metavar="NAME", help="name of the relay, a DNS label")
    relay.add_argument(
        "--host", action="append", required=True, help="DNS name or IP address by which nodes dial it; may be repeated"
    )
    relay.add_argument("-o", "--output", type=Path, metavar="DIR", help="directory for the files (default NAME)")
    for command in (issue, relay):
        command.add_argument("--dir", type=Path, default=Path(), metavar="DIR", help="the authority (default: here)")
        command.add_argument("--force", action="store_true", help="replace files that are there")


def _config_commands(commands: Any) -> None:
    group = commands.add_parser("config", help="check or show the settings")
    made = group.add_subparsers(metavar="COMMAND", required=True)
    _configurable(_add(made, "check", settings.check, "check the settings", "edged config check --config new.toml"))
    show = _add(made, "show", settings.show, "print the settings in force, with their descriptions", "edged config show")
    show.add_argument("--json", action="store_true", help="print them as JSON")
    _configurable(show)


def _late(module: str, name: str) -> Command:
    """A command whose module takes a while to import: that is done when it is typed."""
    return lambda arguments: int(getattr(importlib.import_module(f"edged.cli.{module}"), name)(arguments))


def _configurable(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", type=Path, metavar="PATH", help="settings: a file, or a directory with edged.toml and edged.d/*.toml"
    )


def _add(commands: Any, name: str, command: Command, about: str, *examples: str) -> argparse.ArgumentParser:
    epilog = "\n  ".join(["examples:", *examples]) + f"\n\n{EXITS}"
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=about, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.set_defaults(run=command)
    return made
