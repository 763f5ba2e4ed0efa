"""A visitor's configData into the place of a property: which registers, and what they mean."""

from decimal import Decimal
from typing import Annotated, Literal, NamedTuple

import msgspec

from edged.device.configdata import convert, invalid
from edged.device.modbus.registers import ADDRESSES, COIL, DISCRETE, HOLDING, MAX_REGISTERS, MAX_WRITTEN, Coding, Register
from edged.errors import Cause
from edged.model.meta import JSON
from edged.model.values import NUMBERS

MAX_SCALE_MAGNITUDE = 30  # powers of ten and digits; no meter has more
BITS = 16  # in a register


class DataType(NamedTuple):
    """What registers hold, when it is said: how they code a number, and how many there are."""

    coding: Coding
    registers: int


DATA_TYPES = {
    "int16": DataType("int", 1),
    "int32": DataType("int", 2),
    "int64": DataType("int", 4),
    "uint16": DataType("uint", 1),
    "uint32": DataType("uint", 2),
    "uint64": DataType("uint", 4),
    "float16": DataType("float", 1),
    "float32": DataType("float", 2),
    "float64": DataType("float", 4),
}
MODEL_TYPES = ("int", "float", "double", "boolean", "string", "bytes")  # KubeEdge's dataType: the model's type once more
MAX_NUMBER = 4  # registers: 64 bits
FLOATS = {2, 4}  # registers of a FLOAT whose dataType is not said; of one or three it is a scaled integer
ORDERS = {"ABCD": (False, False), "BADC": (True, False), "CDAB": (False, True), "DCBA": (True, True)}


class Visitor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`visitors.configData` of a property, with KubeEdge's names; from `signed` on they are ours.

    `offset` is the address of the first of `limit` registers, from 0. A value is what the registers hold times `scale`,
    plus `valueOffset`. `isSwap` swaps the two bytes of each register, `isRegisterSwap` reverses the order of the registers;
    `order` says both at once: ABCD, BADC (bytes swapped), CDAB (registers swapped), DCBA. `bit` is one of a register, 0
    the lowest. `dataType` is int16 to float64; KubeEdge's int, float, … say nothing that the model does not.
    """

    register: Literal["CoilRegister", "DiscreteInputRegister", "InputRegister", "HoldingRegister"]
    offset: Annotated[int, msgspec.Meta(ge=0, le=ADDRESSES - 1)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_REGISTERS)] | None = None
    scale: Decimal = Decimal(1)
    is_swap: bool | None = None
    is_register_swap: bool | None = None
    data_type: str = ""
    signed: bool | None = None
    order: Literal["ABCD", "BADC", "CDAB", "DCBA"] | None = None
    value_offset: Decimal = Decimal(0)
    bit: Annotated[int, msgspec.Meta(ge=0, le=BITS - 1)] | None = None


def register(type_: str, config: JSON) -> Register:
    """The place of a property of a model type, from its configData. InvalidError names every field that is wrong."""
    visitor = convert(config, Visitor)
    data_type = DATA_TYPES.get(visitor.data_type)
    limit = visitor.limit or (data_type.registers if data_type else 1)
    found = _coil(type_, visitor, limit) if visitor.register in {COIL, DISCRETE} else _registers(type_, visitor, limit)
    causes = [Cause(field, "FieldValueInvalid", message) for field, message in (*found, *_common(visitor, limit))]
    if causes:
        raise invalid(causes)
    swap, register_swap = ORDERS[visitor.order] if visitor.order else (bool(visitor.is_swap), bool(visitor.is_register_swap))
    return Register(
        type_,
        visitor.register,
        visitor.offset,
        limit,
        _coding(type_, visitor, limit),
        visitor.scale,
        visitor.value_offset,
        swap,
        register_swap,
        visitor.bit,
    )


def _coding(type_: str, visitor: Visitor, limit: int) -> Coding:
    if type_ not in NUMBERS or visitor.register in {COIL, DISCRETE}:
        return ""
    if visitor.data_type in DATA_TYPES:
        return DATA_TYPES[visitor.data_type].coding
    if type_ != "INT" and limit in FLOATS:
        return "float"
    return "int" if visitor.signed else "uint"


Mistakes = list[tuple[str, str]]  # (field, what is wrong with it)


def _common(visitor: Visitor, limit: int) -> Mistakes:
    found = []
    if not _sound(visitor.scale) or not visitor.scale:
        text = f"expected a number other than 0, of at most {MAX_SCALE_MAGNITUDE} digits, got {visitor.scale}"
        found.append(("scale", text))
    if not _sound(visitor.value_offset):
        text = f"expected a number of at most {MAX_SCALE_MAGNITUDE} digits, got {visitor.value_offset}"
        found.append(("valueOffset", text))
    if visitor.offset + limit > ADDRESSES:
        found.append(("limit", f"{limit} registers from {visitor.offset} go beyond the last, {ADDRESSES - 1}"))
    if visitor.data_type and visitor.data_type not in {*DATA_TYPES, *MODEL_TYPES}:
        found.append(("dataType", f"expected one of {', '.join(DATA_TYPES)}, got {visitor.data_type}"))
    if visitor.order and not {visitor.is_swap, visitor.is_register_swap} <= {None}:
        found.append(("order", "says what isSwap and isRegisterSwap say: give one or the other"))
    return found


def _coil(type_: str, visitor: Visitor, limit: int) -> Mistakes:
    if type_ != "BOOLEAN":
        return [("register", f"a {visitor.register} is one bit: its type is BOOLEAN, the model says {type_}")]
    if limit != 1:
        return [("limit", f"expected 1, as a BOOLEAN is one bit, got {limit}")]
    if visitor.bit is not None:
        return [("bit", f"a {visitor.register} is one bit by itself")]
    return []


def _registers(type_: str, visitor: Visitor, limit: int) -> Mistakes:
    found = []
    data_type = DATA_TYPES.get(visitor.data_type)
    if type_ == "STREAM":
        found.append(("register", "registers hold no STREAM"))
    elif type_ == "BOOLEAN" and limit != 1:
        found.append(("limit", f"expected 1 register for a BOOLEAN, got {limit}"))
    elif type_ in NUMBERS and data_type and limit != data_type.registers:
        found.append(("limit", f"{visitor.data_type} takes {data_type.registers} registers, got {limit}"))
    elif type_ in NUMBERS and limit > MAX_NUMBER:
        found.append(("limit", f"a {type_} is 1 to {MAX_NUMBER} registers, got {limit}"))
    elif visitor.register == HOLDING and limit > MAX_WRITTEN:
        found.append(("limit", f"expected at most {MAX_WRITTEN} holding registers, got {limit}"))
    if data_type and type_ not in NUMBERS:
        found.append(("dataType", f"{visitor.data_type} is a number, the model says {type_}"))
    elif data_type and visitor.signed is not None and data_type.coding != ("int" if visitor.signed else "uint"):
        found.append(("signed", f"contradicts dataType {visitor.data_type}"))
    if visitor.bit is not None and type_ != "BOOLEAN":
        found.append(("bit", f"a bit is a BOOLEAN, the model says {type_}"))
    return found


def _sound(number: Decimal) -> bool:
    return number.is_finite() and max(len(number.as_tuple().digits), abs(number.adjusted())) <= MAX_SCALE_MAGNITUDE
