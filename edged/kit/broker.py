"""Addresses of MQTT brokers as people write them: `tcp://host[:port]`, `ssl://host[:port]`."""

from typing import NamedTuple
from urllib.parse import urlsplit

from edged.kit.address import Address, parse_address

PORTS = {"tcp": 1883, "mqtt": 1883, "ssl": 8883, "tls": 8883, "mqtts": 8883}  # IANA's, and the schemes of paho's clients
SECURE = ("ssl", "tls", "mqtts")


class BrokerSettings(NamedTuple):
    """Where a broker is (`url`), and as whom to speak to it. The files are PEM, but for the password's; "" for none."""

    url: str
    user: str = ""
    password_file: str = ""
    authority_file: str = ""
    certificate_file: str = ""


def parse_broker(text: str) -> tuple[Address, bool]:
    """The address in `tcp://host[:port]`, `ssl://host[:port]` or KubeEdge's bare `host:port`, and whether it speaks TLS.

    ValueError says what was expected.
    """
    try:
        url = urlsplit(text if "://" in text else f"tcp://{text}")
        if url.scheme in PORTS and url.hostname and url.port != 0 and url.path in ("", "/") and not url.username:
            address = Address(url.hostname, url.port or PORTS[url.scheme])
            return parse_address(str(address)), url.scheme in SECURE
    except ValueError:
        pass
    raise ValueError(f"expected tcp://host[:port] or ssl://host[:port], got {text!r}")
