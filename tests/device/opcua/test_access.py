from decimal import Decimal
from typing import Any

import pytest

from edged.device.mapper import PropertyError, Sample


async def test_every_type_of_a_real_server(opcua: Any, opcua_server: Any, node: Any) -> None:
    opcua_server.tell("set int16 -16")
    session = await opcua.connect(opcua.address({"url": opcua_server.url}))
    places = {
        node("BOOLEAN", "bool"): True,
        node("INT", "sbyte"): Decimal(-8),
        node("INT", "byte"): Decimal(8),
        node("INT", "uint16"): Decimal(16),
        node("INT", "int32"): Decimal(-32),
        node("INT", "uint32"): Decimal(32),
        node("INT", "int64"): Decimal(-(1 << 62)),
        node("INT", "uint64"): Decimal(1 << 63),
        node("FLOAT", "float"): Decimal("21.6"),
        node("DOUBLE", "double"): Decimal("0.1"),
        node("STRING", "string"): "grün",
        node("BYTES", "bytes"): b"\x01\xff",
        node("STRING", "time"): "2026-01-02T03:04:05Z",
        node("STRING", "text"): "Kessel",
        opcua.point("INT", {"browseName": "2:Boiler/2:int16"}): Decimal(-16),
        opcua.point("INT", {"nodeID": "nsu=urn:boilers;s=int16"}): Decimal(-16),
    }
    found = await session.read(list(places))
    assert [each.value for each in found] == list(places.values())
    assert all(each.wall > 1_700_000_000 for each in found)
    await session.aclose()


async def test_nodes_that_have_no_value(opcua: Any, opcua_server: Any, node: Any) -> None:
    session = await opcua.connect(opcua.address({"url": opcua_server.url}))
    opcua_server.tell("bad uint16 808B0000")
    found = await session.read(
        [
            node("INT", "none"),
            node("INT", "array"),
            node("INT", "uint16"),
            opcua.point("INT", {"browseName": "2:Boiler/2:none"}),
            opcua.point("INT", {"nodeID": "nsu=urn:none;s=int16"}),
            node("INT", "int32"),
        ]
    )
    opcua_server.tell("set uint16 16")
    words = ["BadNodeIdUnknown", "holds 2 values", "BadDeviceFailure", "is not found: .*BadNoMatch", 'no namespace "urn:none"']
    for each, word in zip(found[:5], words, strict=True):
        assert isinstance(each, PropertyError)
        with pytest.raises(PropertyError, match=word):
            raise each
    assert isinstance(found[5], Sample)
    await session.aclose()


async def test_writes_have_the_nodes_own_type(opcua: Any, opcua_server: Any, node: Any) -> None:
    session = await opcua.connect(opcua.address({"url": opcua_server.url}))
    written = {"float": Decimal("22.7"), "uint16": Decimal(16), "bool": False, "string": "blau", "bytes": b"\x07"}
    types = {"float": "FLOAT", "uint16": "INT", "bool": "BOOLEAN", "string": "STRING", "bytes": "BYTES"}
    for name, value in written.items():
        await session.write(node(types[name], name), value)
        (found,) = await session.read([node(types[name], name)])
        assert found.value == value
    assert opcua_server.value("float").startswith("22.7000")
    refusals = {
        node("INT", "uint16"): "does not hold it: -1 is no whole number from 0 to 65535",
        node("INT", "byte"): "BadUserAccessDenied",
        node("INT", "array"): "holds several values",
        node("INT", "none"): "BadNodeIdUnknown",
    }
    for place, words in refusals.items():
        with pytest.raises(PropertyError, match=words):
            await session.write(place, Decimal(-1) if "65535" in words else Decimal(3))
    for name, value in (("float", "21.6"), ("bool", "true"), ("string", '"grün"')):
        opcua_server.tell(f"set {name} {value}")
    await session.aclose()


async def test_methods(opcua: Any, opcua_server: Any) -> None:
    methods = {
        "multiply": {"objectId": "ns=2;s=boiler", "methodId": "ns=2;s=multiply"},
        "gone": {"objectId": "ns=2;s=boiler", "methodId": "ns=2;s=gone"},
    }
    session = await opcua.connect(opcua.address({"url": opcua_server.url, "methods": methods}))
    assert await session.call("multiply", [Decimal("2.5"), Decimal(3)]) == [Decimal("7.5")]
    for name, arguments, words in (
        ("multiply", [Decimal(1)], "takes 2 arguments, got 1"),
        ("multiply", [Decimal(1), Decimal(-1)], "-1 is no whole number from 0 to 65535"),
        ("gone", [], r"\(Bad"),
        ("explode", [], '"explode" is not in spec.protocol.configData.methods'),
    ):
        with pytest.raises(PropertyError, match=words):
            await session.call(name, arguments)
    assert await session.call("multiply", [Decimal(1), Decimal(1)]) == [Decimal(1)]  # a refusal ends nothing
    await session.aclose()
