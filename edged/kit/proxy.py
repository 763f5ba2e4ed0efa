"""Which HTTP proxy lets us out: as a setting names it, or as the environment does, which is read as curl reads it.

HTTPS_PROXY or https_proxy names it; NO_PROXY or no_proxy says who is reached without one: names with their subdomains, IP
addresses, networks, each perhaps with a port, or "*".
"""

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edged.errors import InvalidError
from edged.kit.address import Address

VARIABLES = ("https_proxy", "HTTPS_PROXY")
EXCEPTIONS = ("no_proxy", "NO_PROXY")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `source` is the setting or variable that names it; its text shows no password."""

    address: Address
    source: str
    authorization: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"http://{self.address}"


def parse_proxy(text: str, source: str, password: str = "") -> Proxy:
    """`[http://][user[:password]@]host:port`; ValueError says what was expected, and shows no password."""
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        host, port = url.hostname or "", url.port or 0
    except ValueError:
        host, port = "", 0
    if not (host and port) or url.scheme != "http" or url.path not in ("", "/") or url.query or url.fragment:
        raise ValueError("expected http://[user:password@]host:port")
    authorization = ""
    if url.username:
        secret = unquote(url.password) if url.password is not None else password
        authorization = "Basic " + base64.b64encode(f"{unquote(url.username)}:{secret}".encode()).decode()
    return Proxy(Address(host, port), source, authorization)


def chosen_proxy(setting: str, password_file: str) -> Proxy | None:
    """The proxy that is set, if one is; its password may be in a file of its own, which InvalidError says is not there."""
    if not setting:
        return None
    password = ""
    if password_file:
        try:
            password = Path(password_file).read_text().strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not text"
            raise InvalidError(f"hub.proxy_password_file {password_file}: {why}") from error
    return parse_proxy(setting, "hub.proxy", password)


def from_environment(environ: Mapping[str, str], target: Address) -> Proxy | None:
    """The proxy by which the environment wants `target` to be reached. ValueError names the variable that makes no sense."""
    name = next((name for name in VARIABLES if environ.get(name)), None)
    if name is None or target.loopback:
        return None
    exceptions = next((environ[name] for name in EXCEPTIONS if environ.get(name)), "")
    if any(_covers(exception.strip(), target) for exception in exceptions.split(",")):
        return None
    try:
        return parse_proxy(environ[name], name)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None  # the text of the cause may show a password


def _covers(exception: str, target: Address) -> bool:
    if exception == "*":
        return True
    host, colon, port = exception.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        if int(port) != target.port:
            return False
        exception = host
    ip, name = target.ip, exception.strip("[]").lower()
    if ip is not None:
        try:
            network = ipaddress.ip_network(name, strict=False)
        except ValueError:
            return False
        return network.version == ip.version and ip in network
    name = name.removeprefix("*").removeprefix(".").rstrip(".")
    host = target.host.lower().rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def without_password(text: str) -> str:
    """The setting as it may be shown."""
    before, at, host = text.rpartition("@")
    scheme, slashes, credentials = before.rpartition("//")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{slashes}{user}:***@{host}" if at and colon else text
