"""Port mapping by UPnP (Internet Gateway Device 1 and 2): what is asked of a gateway, and what it answers. Pure.

    search                  SSDP: is there a gateway?                 -> its description's URL (location)
    GET description         what can it do?                           -> where a port is mapped (service)
    POST control, SOAP      AddPortMapping, GetExternalIPAddress, DeletePortMapping

Whatever a packet says, only the gateway's own address is asked: URLs that lead elsewhere are refused. XML is read by expat
with no DTD, so that there are no entities that grow, up to MAX_BODY bytes.
"""

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit
from xml.parsers import expat

from edged.errors import ProtocolError
from edged.kit.address import Address

GROUP = Address("239.255.255.250", 1900)  # SSDP: UPnP Device Architecture 1.1, section 1
MAX_BODY = 64 << 10  # bytes of a description: known ones are under 10 kB
MAX_DEPTH = 32  # of its elements: devices within devices are three deep
MAX_SSDP = 2048  # bytes of an answer to a search
MAX_PATH = 512  # characters of a URL's path
CONFLICT, PERMANENT_ONLY = 718, 725  # WANIPConnection:1, section 2.4.16.4
SERVICES = tuple(  # best first
    f"urn:schemas-upnp-org:service:{name}" for name in ("WANIPConnection:2", "WANIPConnection:1", "WANPPPConnection:1")
)
_TARGET = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"  # one of version 2 answers to it, too
_SEARCH = 'M-SEARCH * HTTP/1.1\r\nHOST: {0}\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: {1}\r\n\r\n'
_SOAP = (
    '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
    's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:{0} xmlns:u="{1}">{2}</u:{0}></s:Body></s:Envelope>'
)


class Place(NamedTuple):
    """A document of the gateway: the port of its HTTP server, and the path there."""

    port: int
    path: str


class Service(NamedTuple):
    """Where ports are mapped, and how the service calls itself."""

    place: Place
    kind: str


class Call(NamedTuple):
    """An HTTP request to the gateway: GET, or with an `action` (the value of SOAPACTION) POST of `body`."""

    place: Place
    action: str = ""
    body: bytes = b""


class FaultError(ProtocolError):
    """The gateway refuses; `code` is UPnP's."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the gateway refuses: UPnP error {code}")
        self.code = code


def search() -> bytes:
    """The question for gateways, by UDP."""
    return _SEARCH.format(GROUP, _TARGET).encode()


def location(data: bytes, gateway: str) -> Place:
    """Where the gateway describes itself, by its answer to a search. ProtocolError when that is none, whatever the bytes."""
    if len(data) > MAX_SSDP:
        raise ProtocolError(f"an SSDP answer of {len(data)} bytes")
    first, *lines = data.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1.1 200"):
        raise ProtocolError("no SSDP answer")
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "location":
            return _place(value.strip(), gateway)
    raise ProtocolError("an SSDP answer without a location")


def service(description: bytes, at: Place, gateway: str) -> Service:
    """The best service of SERVICES in a description that was read `at` a place. ProtocolError, whatever the bytes."""
    found: dict[str, str] = {}
    kind = control = ""
    base = f"http://{gateway}:{at.port}{at.path}"
    for name, text in _elements(description):
        if name == "serviceType":
            kind = text
        elif name == "controlURL":
            control = text
        elif name == "service":
            found.setdefault(kind, control)
            kind = control = ""
        elif name == "URLBase" and text:
            base = text
    for known in SERVICES:
        if found.get(known):
            return Service(_place(_joined(base, found[known]), gateway), known)
    raise ProtocolError("the gateway maps no ports by UPnP")


def add(service: Service, own: str, port: int, outer: int, lease: int) -> Call:
    """Map UDP `outer` of the gateway to `port` of our address `own` for `lease` seconds; 0: until it is deleted."""
    return _call(
        service,
        "AddPortMapping",
        {
            **_mapping(outer),
            "NewInternalPort": str(port),
            "NewInternalClient": own,
            "NewEnabled": "1",
            "NewPortMappingDescription": "edged",
            "NewLeaseDuration": str(lease),
        },
    )


def delete(service: Service, outer: int) -> Call:
    """Map it no more."""
    return _call(service, "DeletePortMapping", _mapping(outer))


def ask_address(service: Service) -> Call:
    """What the gateway's outer address is."""
    return _call(service, "GetExternalIPAddress", {})


def answered(status: int, body: bytes) -> Mapping[str, str]:
    """What the gateway answers to a call, by element. FaultError when it refuses, ProtocolError when that is no answer."""
    values = dict(_elements(body))
    if status == 200:
        return values
    code = values.get("errorCode", "")
    raise FaultError(int(code) if code.isascii() and code.isdigit() and len(code) < 6 else 0)


def outer_address(values: Mapping[str, str]) -> str:
    """The answer to ask_address. ProtocolError when it is no IPv4 address."""
    try:
        return str(ipaddress.IPv4Address(values.get("NewExternalIPAddress", "")))
    except ValueError as error:
        raise ProtocolError("the gateway does not say its outer address") from error


def _mapping(outer: int) -> dict[str, str]:
    return {"NewRemoteHost": "", "NewExternalPort": str(outer), "NewProtocol": "UDP"}


def _call(service: Service, action: str, arguments: Mapping[str, str]) -> Call:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in arguments.items())  # ours: addresses and numbers
    return Call(service.place, f'"{service.kind}#{action}"', _SOAP.format(action, service.kind, inner).encode())


def _place(url: str, gateway: str) -> Place:
    """ProtocolError unless it is on the gateway, by HTTP, and its path can be said as it is."""
    try:
        parts = urlsplit(url)
        port = 80 if parts.port is None else parts.port
    except ValueError as error:
        raise ProtocolError("a gateway's URL that is none") from error
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme != "http" or parts.hostname != gateway or not port:
        raise ProtocolError("a gateway's URL that leads elsewhere")
    if len(path) > MAX_PATH or not path.startswith("/") or any(not "!" <= character <= "~" for character in path):
        raise ProtocolError("a gateway's URL with a path that is none")
    return Place(port, path)


def _joined(base: str, url: str) -> str:
    try:
        return urljoin(base, url)
    except ValueError as error:
        raise ProtocolError("a gateway's URL that is none") from error


def _elements(document: bytes) -> list[tuple[str, str]]:
    """Each element in the order in which they end: its name without prefix, and its text."""
    if len(document) > MAX_BODY:
        raise ProtocolError(f"a document of {len(document)} bytes")
    found: list[tuple[str, str]] = []
    texts: list[list[str]] = []  # of the elements that are open, the outermost first

    def start(_name: str, _attributes: object) -> None:
        if len(texts) == MAX_DEPTH:
            raise ProtocolError("a document with elements too deep")
        texts.append([])

    def end(name: str) -> None:
        found.append((name.rpartition(":")[2], "".join(texts.pop()).strip()))

    def refuse(*_: object) -> None:
        raise ProtocolError("a document with a DTD")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = lambda text: texts[-1].append(text) if texts else None
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the last two: an encoding that Python does not know
        raise ProtocolError(f"no XML: {error}") from error
    return found
