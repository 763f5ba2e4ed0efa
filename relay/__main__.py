"""`edged-relay`: argv, settings, trio.run."""

import argparse
import os
import signal
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import trio

from edged import __version__
from edged.errors import InvalidError, UnreachableError
from edged.identity.verifier import Verifier
from edged.kit.address import Address
from edged.kit.log import Log, libraries
from edged.kit.notify import READY, STOPPING, notify
from edged.kit.settings import ConfigError
from relay.clients import Clients
from relay.config import MB, RelayConfig, load, parse_range
from relay.core import Relay
from relay.server import Server, listen
from relay.udp import UdpPorts

EXAMPLES = """\
examples:
  edged fleet relay relay-1 --host relay.example.com -o /etc/edged/relay
  edged-relay run --cert /etc/edged/relay/relay.crt --key /etc/edged/relay/relay.key \\
                  --authority /etc/edged/relay/authority.crt --name relay.example.com
  edged-relay run --listen 127.0.0.1:7443 --authority authority.crt          ws, on this machine only
  edged-relay run --behind-proxy --authority authority.crt                   ws, a proxy ends TLS

Settings are read from /etc/edged/relay.toml, then EDGED_RELAY_* (EDGED_RELAY_LISTEN, ...), then the flags.
/healthz and /metrics are answered on the same port. By UDP nodes ask at that port and the next one (udp_ports), and are
forwarded on one port for two nodes (udp_range, 20000-21999): let these through a firewall, or nodes go on by WebSocket.
exit codes: 0 ended on SIGTERM or SIGINT, 1 failed, 2 usage or settings
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edged-relay",
        description="Introduces the nodes of a fleet to each other and forwards what it cannot read.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edged-relay {__version__}")
    run = parser.add_subparsers(dest="command", metavar="COMMAND", required=True).add_parser(
        "run", help="serve nodes", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    run.add_argument("--config", type=Path, metavar="FILE", help="settings file (default /etc/edged/relay.toml)")
    run.add_argument("--listen", metavar="HOST:PORT", help="address to listen on (default 0.0.0.0:7443)")
    run.add_argument("--authority", metavar="FILE", help="certificate of the fleet's authority, to know nodes by")
    run.add_argument("--cert", metavar="FILE", help="the relay's certificate chain: serve wss")
    run.add_argument("--key", metavar="FILE", help="key of that certificate")
    run.add_argument("--name", dest="names", action="append", metavar="HOST", help="host by which nodes dial this relay")
    run.add_argument("--behind-proxy", action="store_true", default=None, help="a proxy ends TLS: serve ws on any address")
    run.add_argument("--no-udp", dest="udp", action="store_false", default=None, help="forward by WebSocket only")
    run.add_argument("--max-clients", type=int, metavar="N", help="connections at once (default 10000)")
    run.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error")
    return parser


def _tls(config: RelayConfig) -> ssl.SSLContext | None:
    if not config.cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.cert, config.key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"cert {config.cert}, key {config.key}: {error.strerror or error}") from error
    return context


def _verifier(config: RelayConfig) -> Verifier:
    try:
        return Verifier(Path(config.authority).read_bytes())
    except OSError as error:
        raise ConfigError(f"authority {config.authority}: {error.strerror}") from error
    except InvalidError as error:
        raise ConfigError(f"authority {config.authority}: {error}") from error


def _udp(config: RelayConfig, address: Address, log: Log) -> UdpPorts | None:
    if not config.udp:
        return None
    try:
        return UdpPorts(
            address.host,
            questions=config.questions(address.port),
            forwards=parse_range(config.udp_range),
            most=config.udp_max,
            rate=config.udp_rate_mb_s * MB,
            log=log,
        )
    except UnreachableError as error:
        raise ConfigError(f"udp_ports: {error}: set others, or udp = false") from error


async def _serve(config: RelayConfig) -> None:
    log = Log(level=config.log_level)
    verifier, tls = _verifier(config), _tls(config)
    listeners = await listen(config.address)
    address = Address(*listeners[0].socket.getsockname()[:2])
    hosts = [str(listener.socket.getsockname()[0]) for listener in listeners]
    udp = _udp(config, Address("::" if "::" in hosts else address.host, address.port), log)
    relay = Relay(verifier, config.names, udp.forwarder if udp is not None else None)
    clients = Clients(relay, random=Random(), log=log)  # noqa: S311  it only spreads keep-alives in time
    server = Server(relay, clients, listeners, tls, most=config.max_clients, behind_proxy=config.behind_proxy, log=log)
    with libraries(log), trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            if udp is not None:
                nursery.start_soon(udp.run)
                nursery.start_soon(clients.take_back)
            log.info(f"listening on {'wss' if tls else 'ws'}://{address}")
            notify(READY, os.environ)
            await anext(aiter(signals))
            notify(STOPPING, os.environ)
            nursery.cancel_scope.cancel()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the relay until SIGTERM or SIGINT; returns the exit code."""
    arguments = vars(_parser().parse_args(argv))
    del arguments["command"]
    try:
        config = load(arguments.pop("config"), os.environ, arguments)
        trio.run(_serve, config)
    except ConfigError as error:
        return _failed(2, str(error))
    except OSError as error:
        return _failed(1, error.strerror or str(error))
    return 0


def _failed(code: int, why: str) -> int:
    sys.stderr.write(f"edged-relay: {why}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
