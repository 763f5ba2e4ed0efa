"""The relay's settings: relay.toml, `EDGED_RELAY_*` over it, flags over those; and what they must satisfy together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edged.kit.address import Address, parse_address
from edged.kit.settings import ConfigError, Source, from_environment, read_toml, settle

DEFAULT_FILE = Path("/etc/edged/relay.toml")
PREFIX = "EDGED_RELAY_"
CONFIG_VARIABLE = PREFIX + "CONFIG"
MB = 1_000_000


def parse_range(text: str) -> range:
    """The ports of "LOW-HIGH"; of "0" only that, which means any. ValueError says what was expected."""
    low, _, high = text.partition("-")
    if text == "0":
        return range(1)
    if not (low.isascii() and low.isdigit() and high.isascii() and high.isdigit() and 0 < int(low) <= int(high) <= 65535):
        raise ValueError(f"expected LOW-HIGH, ports from 1 to 65535, or 0 for any, got {text!r}")
    return range(int(low), int(high) + 1)


def _two_ports(ports: tuple[int, ...]) -> None:
    if len(ports) > 2 or not all(0 <= port <= 65535 for port in ports):
        raise ValueError(f"expected at most two ports from 0 to 65535, got {', '.join(map(str, ports))}")


class RelayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of a relay."""

    listen: Annotated[str, Meta(description="Address to listen on, host:port.", extra={"check": parse_address})] = (
        "0.0.0.0:7443"
    )
    authority: Annotated[str, Meta(description="File with the certificate of the fleet's authority (PEM).")] = ""
    cert: Annotated[str, Meta(description="File with the relay's certificate chain (PEM): serve wss. Empty: serve ws.")] = ""
    key: Annotated[str, Meta(description="File with the key of that certificate (PEM).")] = ""
    names: Annotated[
        tuple[str, ...], Meta(description="Hosts by which nodes dial this relay; a proof for another is refused. Empty: any.")
    ] = ()
    behind_proxy: Annotated[
        bool,
        Meta(description="A proxy ends TLS before this relay: serve ws on any address, believe X-Forwarded-For's last hop."),
    ] = False
    max_clients: Annotated[int, Meta(ge=1, le=1_000_000, description="Connections at once; further ones are answered 503.")] = (
        10_000
    )
    udp: Annotated[bool, Meta(description="Forward by UDP, too: much faster, and nodes find direct ways by it.")] = True
    udp_ports: Annotated[
        tuple[int, ...],
        Meta(
            description="The two UDP ports where nodes ask for their address. Empty: that of listen and the next one.",
            extra={"check": _two_ports},
        ),
    ] = ()
    udp_range: Annotated[
        str,
        Meta(
            description="UDP ports that forward, one for two nodes that need it: LOW-HIGH, or 0 for any that is free.",
            extra={"check": parse_range},
        ),
    ] = "20000-21999"
    udp_max: Annotated[int, Meta(ge=1, le=65535, description="Pairs of nodes that are forwarded by UDP at once.")] = 2000
    udp_rate_mb_s: Annotated[
        float, Meta(ge=1, le=1e6, description="MB/s that one node may send through UDP; what is above is dropped.")
    ] = 250.0
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least level that is logged.")] = "info"

    @property
    def address(self) -> Address:
        """Where to listen."""
        return parse_address(self.listen)

    def questions(self, port: int) -> Sequence[int]:
        """The UDP ports for questions, when `port` is the TCP port that we got."""
        if self.udp_ports:
            return self.udp_ports
        return (port, port + 1) if self.address.port and port < 65535 else (0, 0)


def load(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> RelayConfig:
    """The settings that are in force. ConfigError is one line for the person who starts the relay."""
    chosen = path or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    variables = {name: value for name, value in environ.items() if name != CONFIG_VARIABLE}
    sources: Sequence[Source] = [
        *([read_toml(chosen or DEFAULT_FILE)] if chosen or DEFAULT_FILE.exists() else []),
        *from_environment(RelayConfig, PREFIX, variables),
        Source("the command line", {name: value for name, value in flags.items() if value is not None}),
    ]
    config = settle(RelayConfig, sources)
    _check_together(config)
    return config


def _check_together(config: RelayConfig) -> None:
    if not config.authority:
        raise ConfigError("authority: expected the file of the fleet's certificate (authority.crt), to know nodes by")
    if bool(config.cert) != bool(config.key):
        raise ConfigError("cert, key: expected both or none")
    if not config.cert and not config.address.loopback and not config.behind_proxy:
        raise ConfigError(
            f"listen: {config.listen} would serve ws without TLS to the network: "
            "set cert and key, or behind_proxy when a proxy ends TLS, or listen on a loopback address"
        )
