from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ProtocolError
from edged.hub import upnp
from edged.hub.upnp import FaultError, Place, Service

GATEWAY = "192.168.1.1"
AT = Place(5000, "/rootDesc.xml")
FOUND = b"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nLocation: http://192.168.1.1:5000/rootDesc.xml\r\n\r\n"
DESCRIPTION = b"""<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><device><deviceType>urn:x</deviceType><deviceList><device><serviceList>
<service><serviceType>urn:schemas-upnp-org:service:WANPPPConnection:1</serviceType><controlURL>/ppp</controlURL></service>
<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><SCPDURL>/x.xml</SCPDURL>
<controlURL>ctl/IP?a=1</controlURL></service>
</serviceList></device></deviceList></device></root>"""
IP = Service(Place(5000, "/ctl/IP?a=1"), "urn:schemas-upnp-org:service:WANIPConnection:1")
ENVELOPE = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{}</s:Body></s:Envelope>'
OUTER = ENVELOPE.format("<u:R><NewExternalIPAddress> 203.0.113.1 </NewExternalIPAddress></u:R>").encode()
FAULT = ENVELOPE.format("<s:Fault><detail><UPnPError><errorCode>718</errorCode></UPnPError></detail></s:Fault>").encode()


def test_a_gateway_is_found_and_its_best_service() -> None:
    assert upnp.search().startswith(b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n")
    assert upnp.location(FOUND, GATEWAY) == AT
    assert upnp.service(DESCRIPTION, AT, GATEWAY) == IP
    based = DESCRIPTION.replace(b"<device><deviceType>", b"<URLBase>http://192.168.1.1:80/up/</URLBase><device><deviceType>")
    assert upnp.service(based, AT, GATEWAY).place == Place(80, "/up/ctl/IP?a=1")
    ppp = DESCRIPTION.replace(b"WANIPConnection:1", b"Layer3Forwarding:1")
    assert upnp.service(ppp, AT, GATEWAY).place == Place(5000, "/ppp")


def test_calls_and_their_answers() -> None:
    call = upnp.add(IP, "192.168.1.2", 7400, 7401, 7200)
    assert call.place == IP.place
    assert call.action == '"urn:schemas-upnp-org:service:WANIPConnection:1#AddPortMapping"'
    for name, value in (("ExternalPort", 7401), ("InternalPort", 7400), ("InternalClient", "192.168.1.2"), ("Protocol", "UDP")):
        assert f"<New{name}>{value}</New{name}>".encode() in call.body
    assert b"<NewExternalPort>7401<" in upnp.delete(IP, 7401).body
    assert upnp.outer_address(upnp.answered(200, OUTER)) == "203.0.113.1"
    assert b"GetExternalIPAddress" in upnp.ask_address(IP).body
    with pytest.raises(FaultError) as fault:
        upnp.answered(500, FAULT)
    assert fault.value.code == upnp.CONFLICT
    with pytest.raises(ProtocolError, match="outer address"):
        upnp.outer_address(upnp.answered(200, FAULT))


@pytest.mark.parametrize(
    "url",
    [
        "http://192.168.1.3/x",  # another machine: whoever answers could make us ask anybody
        "http://192.168.1.1.example.com/x",
        "http://user@192.168.1.9/",
        "https://192.168.1.1/x",
        "http://192.168.1.1:0/x",
        "http://192.168.1.1:99999/x",
        "http://[::1/x",
        "http://192.168.1.1/a b",
        "http://192.168.1.1/" + "x" * 600,
        "",
    ],
)
def test_only_the_gateway_is_asked(url: str) -> None:
    with pytest.raises(ProtocolError):
        upnp.location(f"HTTP/1.1 200 OK\r\nLOCATION: {url}\r\n\r\n".encode(), GATEWAY)
    with pytest.raises(ProtocolError):
        upnp.service(DESCRIPTION.replace(b"ctl/IP?a=1", url.encode()).replace(b"/ppp", b""), AT, GATEWAY)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<root>",
        b"<root></root>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><root>&b;</root>',
        b'<!DOCTYPE x SYSTEM "http://192.168.1.1/x.dtd"><root/>',
        b'<?xml version="1.0" encoding="no-such"?><root/>',
        b'<?xml version="1.0" encoding="utf-7"?><root/>',
        b"<a>" * 1000,
        b"<a>" + b"x" * upnp.MAX_BODY,
    ],
)
def test_documents_that_are_none_are_refused(document: bytes) -> None:
    with pytest.raises(ProtocolError):
        upnp.service(document, AT, GATEWAY)


@pytest.mark.parametrize("data", [b"", b"NOTIFY * HTTP/1.1\r\n\r\n", FOUND.replace(b"Location", b"Place"), FOUND + bytes(3000)])
def test_answers_to_a_search_that_are_none(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        upnp.location(data, GATEWAY)


MESSAGES = [DESCRIPTION, FAULT, OUTER, FOUND]
PARSERS: list[Callable[[bytes], object]] = [
    lambda data: upnp.service(data, AT, GATEWAY),
    lambda data: upnp.outer_address(upnp.answered(200, data)),
    lambda data: upnp.answered(500, data),
    lambda data: upnp.location(data, GATEWAY),
]


def check(data: bytes) -> None:
    for parse in PARSERS:
        try:
            parse(data)
        except ProtocolError:
            continue


@given(st.integers(0, len(DESCRIPTION) - 1), st.integers(0, 255), st.binary(max_size=40), st.integers(0, 40))
def test_damage_raises_protocol_error_only(at: int, value: int, noise: bytes, cut: int) -> None:
    for document in MESSAGES:
        where = at % len(document)
        for data in (document[:where] + bytes((value,)) + noise + document[where + cut :], document[:where], noise):
            check(data)
