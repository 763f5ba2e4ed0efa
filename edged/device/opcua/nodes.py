"""Where an OPC UA server is and where a property is on it, from configData. Pure.

The text of NodeIds: Part 6, 5.3.1.10; of browse paths: names from the Objects folder down, each with its namespace,
`2:Boiler/2:Temperature`.
"""

import math
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from edged.device.configdata import convert, invalid
from edged.errors import Cause
from edged.model.meta import JSON
from edged.model.values import Value

NODE_ID = re.compile(
    r"(?:ns=(?P<ns>\d{1,5});|nsu=(?P<nsu>[^;]+);)?"
    r"(?:i=(?P<i>\d{1,10})|s=(?P<s>.+)|g=[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|b=[A-Za-z0-9+/]+={0,2})",
    re.DOTALL,
)
SEGMENT = re.compile(r"(?:(\d{1,5}):)?(.+)", re.DOTALL)
MAX_TEXT = 512  # characters of a NodeId or path, as most servers have it
MAX_NAMESPACE = 65535
PORT = 4840

Seconds = Annotated[float, msgspec.Meta(ge=0.1, le=60)]


class Method(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A method of the device: the NodeId of the object that has it, and its own."""

    object_id: str = msgspec.field(name="objectId")
    method_id: str = msgspec.field(name="methodId")


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`spec.protocol.configData` of a device, with KubeEdge's names; `passwordFile`, `timeout` and `methods` are ours.

    Files are paths on the node. `remoteCertificate` is the server's: without it the first one seen is trusted from then on.
    """

    url: str
    user_name: str = ""
    password: str = ""
    password_file: str = ""
    security_policy: Literal["None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"] = "None"
    security_mode: Literal["None", "Sign", "SignAndEncrypt"] = "None"
    certificate: str = ""
    private_key: str = ""
    remote_certificate: str = ""
    timeout: Seconds = 5.0
    methods: dict[str, Method] = {}

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        """Without the password."""
        return f"Address({self.url})"

    def __hash__(self) -> int:
        return hash((self.url, self.user_name))


class Visitor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`visitors.configData` of a property: its NodeId, or its path from the Objects folder."""

    node_id: str = msgspec.field(name="nodeID", default="")
    browse_name: str = msgspec.field(name="browseName", default="")


class Node(msgspec.Struct, frozen=True):
    """Where a property of model type `type` is: a NodeId, or else a path. Make it with `node`."""

    type: str
    node_id: str
    path: tuple[tuple[int, str], ...] = ()

    @property
    def writable(self) -> bool:
        """The server says so, when it is written to."""
        return True

    def nearest(self, value: Value) -> Value:
        """Only the server knows the node's type: a value that it cannot hold is refused when it is written."""
        return value

    def __str__(self) -> str:
        return self.node_id or "/".join(f"{namespace}:{name}" for namespace, name in self.path)


def address(config: JSON) -> Address:
    """Where a server is. InvalidError names every field that is wrong."""
    renamed = {"userName" if field == "username" else field: value for field, value in config.items()}
    found = convert(renamed, Address)
    mistakes = [*_mistakes(found)]
    for name, method in found.methods.items():
        for field, text in (("objectId", method.object_id), ("methodId", method.method_id)):
            if wrong := _wrong_node_id(text):
                mistakes.append((f"methods.{name}.{field}", wrong))
    if mistakes:
        raise invalid([Cause(field, "FieldValueInvalid", message) for field, message in mistakes])
    return found


def _mistakes(found: Address) -> list[tuple[str, str]]:
    mistakes = []
    if wrong := _wrong_url(found.url):
        mistakes.append(("url", wrong))
    if (found.security_policy == "None") != (found.security_mode == "None"):
        text = f'"{found.security_policy}" and the mode "{found.security_mode}" do not go together'
        mistakes.append(("securityPolicy", text))
    if bool(found.certificate) != bool(found.private_key):
        mistakes.append(("certificate", "expected together with its privateKey, or neither"))
    if (found.password or found.password_file) and not found.user_name:
        mistakes.append(("userName", "is missing, but there is a password"))
    if found.password and found.password_file:
        mistakes.append(("passwordFile", "expected password or passwordFile, got both"))
    return mistakes


def _wrong_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.scheme == "opc.tcp" and parts.hostname and not parts.username and (parts.port or PORT) > 0:
            return ""
    except ValueError:
        pass
    return "expected opc.tcp://HOST:PORT, without a user"


def node(type_: str, config: JSON) -> Node:
    """Where a property is. InvalidError names every field that is wrong."""
    visitor = convert(config, Visitor)
    if type_ == "STREAM":
        raise invalid([Cause("nodeID", "FieldValueInvalid", "an OPC UA variable holds no STREAM")])
    if visitor.node_id:  # a browseName beside it is for people
        if wrong := _wrong_node_id(visitor.node_id):
            raise invalid([Cause("nodeID", "FieldValueInvalid", wrong)])
        return Node(type_, visitor.node_id)
    if not visitor.browse_name:
        raise invalid([Cause("nodeID", "FieldValueRequired", "is missing; or give browseName")])
    if (path := _path(visitor.browse_name)) is None:
        text = f"expected a path from the Objects folder such as 2:Boiler/2:Temperature, got {visitor.browse_name[:60]!r}"
        raise invalid([Cause("browseName", "FieldValueInvalid", text)])
    return Node(type_, "", path)


def _wrong_node_id(text: str) -> str:
    found = NODE_ID.fullmatch(text) if len(text) <= MAX_TEXT else None
    if found and int(found["ns"] or 0) <= MAX_NAMESPACE and int(found["i"] or 0) < 1 << 32:
        return ""
    return f"expected a NodeId such as ns=2;s=Boiler.Temperature or ns=2;i=7, got {text[:60]!r}"


def _path(text: str) -> tuple[tuple[int, str], ...] | None:
    segments = [SEGMENT.fullmatch(each) for each in text.removeprefix("/").split("/")]
    if len(text) > MAX_TEXT or any(each is None or int(each[1] or 0) > MAX_NAMESPACE for each in segments):
        return None
    return tuple((int(each[1] or 0), each[2]) for each in segments if each)


class Times(msgspec.Struct, frozen=True):
    """How a subscription is asked for, in milliseconds and counts of its publishing interval."""

    publishing_ms: float
    keep_alive: int
    lifetime: int


PUBLISHING = 8  # times in the shortest cycle: a value waits at most an eighth of its cycle at the server
PUBLISHING_MS = (50.0, 1000.0)  # the least spares both ends, the most keeps slow values young
KEEP_ALIVE_MS = 5000.0  # a server with nothing to say says so this often
KEPT_S = 300.0  # a server keeps the subscription, and queues its values, while this node is away for so long
MAX_QUEUE = 1000  # values of one node; more would be the server's memory for fast nodes


def times(shortest_s: float) -> Times:
    """The subscription for nodes of which the fastest is wanted every `shortest_s` seconds."""
    publishing = min(max(shortest_s * 1000 / PUBLISHING, PUBLISHING_MS[0]), PUBLISHING_MS[1])
    keep_alive = max(1, round(KEEP_ALIVE_MS / publishing))
    return Times(publishing, keep_alive, max(3 * keep_alive, math.ceil(KEPT_S * 1000 / publishing)))


def queue(cycle_s: float) -> int:
    """How many values of a node the server is asked to queue, so that none is lost while this node is away."""
    return min(max(2, math.ceil(KEPT_S / cycle_s)), MAX_QUEUE)
