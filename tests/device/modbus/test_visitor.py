from typing import Any

import pytest

from edged.device.modbus.registers import Register
from edged.device.modbus.visitor import register
from edged.errors import InvalidError


def holding(type_: str, **more: Any) -> Register:
    return register(type_, {"register": "HoldingRegister", "offset": 0, **more})


def test_two_spellings_of_an_order_mean_the_same() -> None:
    swaps = {
        "ABCD": {},
        "BADC": {"isSwap": True},
        "CDAB": {"isRegisterSwap": True},
        "DCBA": {"isSwap": True, "isRegisterSwap": True},
    }
    for order, spelt in swaps.items():
        assert holding("INT", limit=2, order=order) == holding("INT", limit=2, **spelt)


def test_as_kubeedge_writes_them() -> None:
    sample = {"limit": 1, "scale": 1, "isSwap": True, "isRegisterSwap": True}
    assert register("BOOLEAN", {"register": "CoilRegister", "offset": 2, **sample}).bits
    assert holding("INT", offset="2", limit="1", scale="1", dataType="int") == Register("INT", "HoldingRegister", 2, 1, "uint")


def test_a_data_type_says_how_many_registers() -> None:
    counts = {"int16": 1, "uint32": 2, "int64": 4, "float16": 1, "float32": 2, "float64": 4}
    assert {name: holding("DOUBLE", dataType=name).count for name in counts} == counts


@pytest.mark.parametrize(
    ("type_", "config", "field", "said"),
    [
        ("INT", {"register": "FooRegister"}, "register", "expected one of CoilRegister, DiscreteInputRegister"),
        ("INT", {"offset": 65536}, "offset", "from 0 to 65535"),
        ("INT", {"offset": 65535, "limit": 2}, "limit", "go beyond the last, 65535"),
        ("INT", {"limit": 5}, "limit", "1 to 4 registers"),
        ("INT", {"limit": 2, "dataType": "int16"}, "limit", "int16 takes 1 registers, got 2"),
        ("STRING", {"dataType": "int16"}, "dataType", "is a number, the model says STRING"),
        ("INT", {"dataType": "int17"}, "dataType", "expected one of int16, int32"),
        ("INT", {"dataType": "uint16", "signed": True}, "signed", "contradicts dataType uint16"),
        ("INT", {"order": "ABDC"}, "order", "expected one of ABCD, BADC, CDAB, DCBA"),
        ("INT", {"order": "ABCD", "isSwap": True}, "order", "one or the other"),
        ("INT", {"bit": 3}, "bit", "a bit is a BOOLEAN"),
        ("BOOLEAN", {"bit": 16}, "bit", "expected a whole number from 0 to 15"),
        ("BOOLEAN", {"register": "CoilRegister", "bit": 1}, "bit", "one bit by itself"),
        ("INT", {"valueOffset": "inf"}, "valueOffset", "expected a number"),
        ("INT", {"scale": 0}, "scale", "other than 0"),
        ("INT", {"scale": "nan"}, "scale", "other than 0"),
        ("INT", {"scale": "1e99999999"}, "scale", "other than 0"),
        ("INT", {"isswap": True}, "isswap", "did you mean isSwap"),
        ("INT", {"register": "CoilRegister"}, "register", "BOOLEAN, the model says INT"),
        ("BOOLEAN", {"register": "DiscreteInputRegister", "limit": 2}, "limit", "expected 1"),
        ("BOOLEAN", {"limit": 2}, "limit", "expected 1 register"),
        ("STRING", {"limit": 124}, "limit", "at most 123"),
        ("STREAM", {}, "register", "no STREAM"),
    ],
)
def test_a_wrong_visitor_names_its_field(type_: str, config: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(InvalidError) as caught:
        holding(type_, **config)
    assert [cause.field for cause in caught.value.causes] == [field]
    assert said in caught.value.causes[0].message
