"""The daemon's settings: edged.toml, edged.d/*.toml, `EDGED_*` over them, as one frozen struct a room.

A later file wins over an earlier one, a variable over all files; tables are merged. `edged config show` prints every key
with its description and the value in force.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from edged.kit.address import parse_address
from edged.kit.broker import parse_broker
from edged.kit.proxy import parse_proxy, without_password
from edged.kit.settings import ConfigError, Source, from_environment, read_toml, settle
from edged.model import ranges

DIRECTORY = Path("/etc/edged")
FILE = "edged.toml"
DROP_INS = "edged.d"
PREFIX = "EDGED_"  # and the path, parts joined by "__": EDGED_API__LISTEN
STORE, READINGS = "store.db", "readings.db"  # in the state directory
CONFIG_VARIABLE = "EDGED_CONFIG"
MAX_CLOCK_OFFSET_S = 1_500_000_000  # 47 years: no earlier than 1970, from when clocks count, if the machine's own is right
SHORTEST_LEASE_S, LONGEST_LEASE_S = 1.0, 60.0  # a shorter one runs out while a busy machine thinks
MAX_SOCKET_PATH = 107  # bytes of a Unix socket's path (unix(7)), without its final zero

_LABEL_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = re.compile(rf"([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_LABEL_NAME}")
_LABEL_VALUE = re.compile(rf"({_LABEL_NAME})?")


def _labels(labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise ValueError(f'expected Kubernetes labels, got {key} = "{value}"')


def _absolute(path: str) -> None:
    if not path.startswith("/"):
        raise ValueError(f"expected an absolute path, got {path!r}")


def _socket(path: str) -> None:
    if path:
        _absolute(path)
    if len(path.encode()) > MAX_SOCKET_PATH:
        raise ValueError(f"expected a path of at most {MAX_SOCKET_PATH} bytes, got {len(path.encode())}")


def _listen(text: str) -> None:
    if parse_address(text).ip is None:
        raise ValueError(f"expected an IP address and a port, got {text!r}")


def _peers(peers: Mapping[str, tuple[str, ...]]) -> None:
    for node, addresses in peers.items():
        for text in addresses:
            if parse_address(text).port == 0:
                raise ValueError(f"expected a port from 1 to 65535 for {node}, got {text!r}")


def check_relays(relays: Sequence[str]) -> None:
    """ValueError when one of `relays` is no URL of a relay."""
    for text in relays:
        try:
            url = urlsplit(text)
            known = url.scheme in ("ws", "wss") and bool(url.hostname) and url.port != 0 and not url.username
        except ValueError:
            known = False
        if not known:
            raise ValueError(f"expected wss://host[:port], got {text!r}")


def _resolvers(resolvers: tuple[str, ...]) -> None:
    for text in resolvers:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            _listen(text)


def _optional_listen(text: str) -> None:
    if text:
        _listen(text)


def _loopback(text: str) -> None:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        network = ipaddress.IPv4Network("0.0.0.0/0")
    if network.prefixlen != 16 or not network.is_loopback:
        raise ValueError(f"expected a network of 127.0.0.0/8 with /16, got {text!r}")


def _proxy(text: str) -> None:
    if text:
        parse_proxy(text, "")


def _file(path: str) -> None:
    if path:
        _absolute(path)


def _key(description: str, check: Callable[[Any], None] | None = None, show: Callable[[Any], Any] | None = None) -> Meta:
    """`show` makes of a value what may be shown of it."""
    extra = {name: value for name, value in (("check", check), ("show", show)) if value is not None}
    return Meta(description=description, extra=extra or None)


class NodeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """This machine as a node."""

    state_dir: Annotated[
        str, _key("Directory of the identity, the store and all else that must survive a reboot; owner only.", _absolute)
    ] = "/var/lib/edged"
    labels: Annotated[dict[str, str], _key("Labels of the Node object, for node selectors.", _labels)] = {}
    clock_offset_s: Annotated[
        float,
        Meta(
            ge=-MAX_CLOCK_OFFSET_S,
            le=MAX_CLOCK_OFFSET_S,
            description="Seconds by which this node's clock is wrong on purpose: for tests of wrong clocks.",
        ),
    ] = 0.0


class HubSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Links to the other nodes."""

    relays: Annotated[
        tuple[str, ...], _key("URLs of the relays (wss://host[:port]). Empty: those of the join bundle.", check_relays)
    ] = ()
    proxy: Annotated[
        str,
        _key(
            "The HTTP proxy by which relays are reached, http://[user[:password]@]host:port. "
            "Empty: as HTTPS_PROXY and NO_PROXY of the environment say.",
            _proxy,
            without_password,
        ),
    ] = ""
    proxy_password_file: Annotated[str, _key("File with the password of the user in hub.proxy.", _file)] = ""
    listen: Annotated[str, _key("UDP address for links; port 0 takes any that is free.", _listen)] = "0.0.0.0:7400"
    peers: Annotated[
        dict[str, tuple[str, ...]],
        _key(
            "Where nodes can be reached directly: node = [host:port, ...]. Others are found through the relay. "
            "A node of another group is called GROUP/NAME.",
            _peers,
        ),
    ] = {}
    discovery: Annotated[bool, _key("Whether nodes on the LAN find each other by signed multicast beacons (UDP 7401).")] = True
    port_mapping: Annotated[
        bool,
        _key(
            "Whether the default gateway is asked (by PCP, NAT-PMP or UPnP) to let others in at the port of hub.listen: "
            "then links are direct where both sides have a NAT that is hard to pass."
        ),
    ] = True


class GroupSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """This node among the others of its group."""

    lease_s: Annotated[
        float,
        Meta(
            ge=SHORTEST_LEASE_S,
            le=LONGEST_LEASE_S,
            description="Seconds that the others take this node for alive after its last pulse; three are sent in that time.",
        ),
    ] = 10.0


class RuntimeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Containers."""

    driver: Annotated[
        Literal["auto", "docker", "process"],
        _key("What runs containers: docker, process (host processes, image `host`), or auto: docker when its socket is there."),
    ] = "auto"
    docker_socket: Annotated[str, _key("Docker's socket.", _absolute)] = "/var/run/docker.sock"
    network: Annotated[
        str,
        _key(
            "The Docker network that pods join. Empty: one that edged makes of this node's range of mesh.pod_network; "
            "with any other one pods of other nodes cannot be called by address."
        ),
    ] = ""


class ApiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The Kubernetes-compatible API."""

    listen: Annotated[str, _key("HTTPS address; clients prove themselves with a certificate.", _listen)] = "127.0.0.1:6443"
    socket: Annotated[
        str, _key("Unix socket for the machine's own root, without TLS. Empty: api.sock in node.state_dir.", _socket)
    ] = ""


class MeshSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calls by name."""

    enabled: Annotated[bool, _key("Whether names of services are answered and calls carried.")] = True
    rootless: Annotated[
        bool | None,
        _key("Serve on loopback addresses instead of service addresses and rules. Not set: when not root."),
    ] = None
    dns: Annotated[
        str,
        _key("Where DNS is answered. Empty: 169.254.96.16:53; rootless: x.y.0.53:10053 in mesh.loopback.", _optional_listen),
    ] = ""
    resolvers: Annotated[
        tuple[str, ...],
        _key("Who is asked for other names, address[:port]. Empty: the resolvers of /etc/resolv.conf.", _resolvers),
    ] = ()
    host_dns: Annotated[
        bool, _key("Whether systemd-resolved is told to ask this node for its names while it runs (a file in /etc/systemd).")
    ] = False
    socks5: Annotated[
        str,
        _key(
            "Where SOCKS5 is served, such as 127.0.0.1:1080, for programs that cannot resolve names of services and nodes; "
            "only this node and its containers may use it. Empty: nowhere.",
            _optional_listen,
        ),
    ] = ""
    loopback: Annotated[
        str, _key("The /16 of 127.0.0.0/8 in which a rootless node serves; two on one machine need two.", _loopback)
    ] = "127.96.0.0/16"
    pod_network: Annotated[
        str,
        _key(
            "The network of pods' addresses, the same one on all nodes of a group, /16 to /22: each node takes a /24 of it. "
            "Nothing else that the machine reaches may be in it.",
            ranges.pod_network,
        ),
    ] = "10.42.0.0/16"


def _servicebus(text: str) -> None:
    _optional_listen(text)
    if text and not parse_address(text).loopback:
        raise ValueError(f"expected an address of this machine alone, such as 127.0.0.1:9060, got {text!r}")


def _broker(text: str) -> None:
    if text:
        parse_broker(text)


class BusSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The MQTT broker on which devices and applications talk, and the doors of rules."""

    mqtt: Annotated[
        str,
        _key(
            "Where the broker is, tcp://host[:port] or ssl://host[:port]. One that is not there is looked for now and then. "
            "Empty: none.",
            _broker,
        ),
    ] = "tcp://127.0.0.1:1883"
    user: Annotated[str, _key("User at the broker. Empty: none.")] = ""
    password_file: Annotated[str, _key("File with the password of that user.", _file)] = ""
    authority_file: Annotated[
        str, _key("PEM file of the authorities that vouch for an ssl:// broker. Empty: the machine's.", _file)
    ] = ""
    certificate_file: Annotated[
        str, _key("PEM file of our certificate, and key, for an ssl:// broker. Empty: none.", _file)
    ] = ""
    rest: Annotated[
        str,
        _key(
            "Where requests for rules with a rest source are taken: whoever reaches it may use them. Open while there are any. "
            "Empty: nowhere.",
            _optional_listen,
        ),
    ] = "127.0.0.1:9443"
    servicebus: Annotated[
        str, _key("Where programs of this machine speak to rules with a servicebus source. Empty: nowhere.", _servicebus)
    ] = "127.0.0.1:9060"


class DmiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Mappers made for KubeEdge."""

    socket: Annotated[
        str,
        _key(
            "Unix socket at which such mappers register, as KubeEdge's /etc/kubeedge/dmi.sock; their own must be in its "
            "directory. Empty: none may.",
            _socket,
        ),
    ] = ""


class HistorySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What devices said: kept in readings.db in node.state_dir, and queued there for the targets of pushMethods."""

    max_mb: Annotated[
        int,
        Meta(ge=1, le=1 << 20, description="Megabytes (2**20) of readings that are kept, sent or not; then when_full says."),
    ] = 64
    max_days: Annotated[
        float, Meta(gt=0, le=36500, description="Days that readings are kept which every target has; others stay until sent.")
    ] = 7.0
    max_reports: Annotated[
        int,
        Meta(
            ge=0,
            description="Reports, each of what a device said at once, that are kept of those which every target has; "
            "0: as many as max_mb and max_days allow.",
        ),
    ] = 0
    when_full: Annotated[
        Literal["drop-oldest", "thin-newest"],
        _key(
            "What goes when max_mb is full: the oldest readings, sent or not; or, while some wait to be sent, new ones beyond "
            "one a minute of each property."
        ),
    ] = "drop-oldest"


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is logged, on stderr: lines on a terminal, else JSON."""

    level: Annotated[Literal["debug", "info", "warning", "error"], _key("Least level that is logged.")] = "info"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of a node."""

    node: NodeSettings = NodeSettings()
    hub: HubSettings = HubSettings()
    group: GroupSettings = GroupSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    api: ApiSettings = ApiSettings()
    mesh: MeshSettings = MeshSettings()
    bus: BusSettings = BusSettings()
    dmi: DmiSettings = DmiSettings()
    history: HistorySettings = HistorySettings()
    log: LogSettings = LogSettings()

    @property
    def state_dir(self) -> Path:
        """Where this node's state is."""
        return Path(self.node.state_dir)


def files(chosen: Path | None, environ: Mapping[str, str]) -> list[Path]:
    """The files to read, in order. `chosen` (or EDGED_CONFIG) is a file, or a directory laid out like /etc/edged.

    Nothing needs to be there by default; what was chosen must be.
    """
    path = chosen or Path(environ.get(CONFIG_VARIABLE) or DIRECTORY)
    if not path.is_dir():
        return [] if path == DIRECTORY else [path]
    main = path / FILE
    return [*([main] if main.exists() else []), *sorted((path / DROP_INS).glob("*.toml"))]


def load(chosen: Path | None, environ: Mapping[str, str]) -> Config:
    """The settings in force. ConfigError: one line with the file, the key's path, what was expected, the nearest key."""
    variables = {name: value for name, value in environ.items() if name.startswith(PREFIX) and "__" in name}
    sources: list[Source] = [*map(read_toml, files(chosen, environ)), *from_environment(Config, PREFIX, variables)]
    config = settle(Config, sources)
    if config.api.socket:
        return config
    socket = f"{config.node.state_dir}/api.sock"
    try:
        _socket(socket)
    except ValueError as error:
        raise ConfigError(f"api.socket: {error}: set a shorter one than {socket}") from error
    return msgspec.structs.replace(config, api=msgspec.structs.replace(config.api, socket=socket))
