"""Request bodies in Kubernetes' protobuf, which `kubectl create KIND` sends since 1.32 whatever a server says it takes.

`protobuf.json` has the field numbers of `k8s.io/api` for the built-in kinds: message -> number -> `name:type`, the types
as in `edged.model.fields`, `skip` for what no client may set; a field without a name is inlined in JSON. Released
numbers never change.
"""

import base64
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from edged.errors import InvalidError
from edged.model.limits import MAX_DEPTH, MAX_NODES
from edged.model.meta import JSON
from edged.model.times import format_micro, format_time

PROTOBUF = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
Parts = dict[int, int | bytes]
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT = 10  # bytes of a 64-bit number

# Go writes plain fields even when they are zero, which in JSON are left out; of these a zero is a wish.
_MEANT = frozenset({
    "activeDeadlineSeconds", "allowPrivilegeEscalation", "automountServiceAccountToken", "defaultMode",
    "deletionGracePeriodSeconds", "enableServiceLinks", "exitCode", "fsGroup", "gracePeriodSeconds", "mode", "replicas",
    "revisionHistoryLimit", "runAsGroup", "runAsUser", "terminationGracePeriodSeconds", "tolerationSeconds",
})  # fmt: skip


def decode(data: bytes) -> JSON:
    """The object in a body, as JSON values; InvalidError when it is none, or of a kind that is not in the table."""
    if not data.startswith(MAGIC):
        raise InvalidError("the body is not Kubernetes protobuf")
    reader = _Reader()
    unknown = dict(reader.fields(data[len(MAGIC) :]))  # runtime.Unknown: typeMeta (1), raw (2), contentEncoding (3)
    meta = dict(reader.fields(_bytes(unknown.get(1, b""))))
    version, kind = _text(meta.get(1, b"")), _text(meta.get(2, b""))
    if kind not in _table() or unknown.get(3):
        raise InvalidError(f"{kind[:64]} is not read in protobuf here: send it as JSON")
    return {"apiVersion": version, "kind": kind, **reader.message(_bytes(unknown.get(2, b"")), kind, 1)}


@cache
def _table() -> dict[str, dict[str, str]]:
    return msgspec.json.decode(Path(__file__).with_name("protobuf.json").read_bytes(), type=dict[str, dict[str, str]])


class _Reader:
    """Reads messages, within the limits that JSON bodies have."""

    def __init__(self) -> None:
        self._left = MAX_NODES

    def fields(self, data: bytes) -> Iterator[tuple[int, int | bytes]]:
        """The fields of a message in their order (protobuf.dev, Encoding)."""
        at = 0
        while at < len(data):
            self._left -= 1
            if self._left < 0:
                raise InvalidError(f"the body holds more than {MAX_NODES} values")
            tag, at = _varint(data, at)
            number, wire = tag >> 3, tag & 7
            if wire == _VARINT:
                value, at = _varint(data, at)
                yield number, value
                continue
            if wire == _BYTES:
                length, at = _varint(data, at)
            elif wire in (_FIXED64, _FIXED32):
                length = 8 if wire == _FIXED64 else 4
            else:
                raise InvalidError(f"the body has a field of wire type {wire}")
            if at + length > len(data):
                raise InvalidError("the body ends inside a field")
            yield number, data[at : at + length]
            at += length

    def message(self, data: bytes, of: str, depth: int) -> JSON:
        """A message as JSON values. Fields that the table does not have are named by number, as unknown ones."""
        if depth > MAX_DEPTH:
            raise InvalidError(f"the body is nested deeper than {MAX_DEPTH} levels")
        row, found = _table()[of], dict[str, Any]()
        for number, raw in self.fields(data):
            name, _, kind = row.get(str(number), f"protobuf-field-{number}:unknown").partition(":")
            if kind.startswith("[]"):
                found.setdefault(name, []).append(self.value(raw, kind[2:], depth))
            elif kind.startswith("{}"):
                entry = dict(self.fields(_bytes(raw)))
                found.setdefault(name, {})[_text(entry.get(1, b""))] = self.value(entry.get(2, b""), kind[2:], depth)
            else:
                value = self.value(raw, kind, depth)
                if not name:
                    found.update(value)
                elif name in _MEANT or isinstance(value, dict | list) or kind == "IntOrString" or value:
                    found[name] = value
        return found

    def value(self, raw: int | bytes, of: str, depth: int) -> Any:
        """One value of a type; None when it is a time that is not set."""
        if (plain := _PLAIN.get(of)) is not None:
            return plain(raw)
        if of in _SMALL:
            return _SMALL[of](dict(self.fields(_bytes(raw))))
        return self.message(_bytes(raw), of, depth + 1)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift, byte in enumerate(data[at : at + _MAX_VARINT]):
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return number & (1 << 64) - 1, at + shift + 1
    raise InvalidError("the body ends inside a number, or has one of more than 64 bits")


def _number(raw: int | bytes) -> int:
    """A signed number (two's complement of 64 bits)."""
    if not isinstance(raw, int):
        raise InvalidError("the body has bytes where a number belongs")
    return raw - (1 << 64) if raw >> 63 else raw


def _bytes(raw: int | bytes) -> bytes:
    if isinstance(raw, int):
        raise InvalidError("the body has a number where bytes belong")
    return raw


def _text(raw: int | bytes) -> str:
    try:
        return _bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise InvalidError(f"the body is not UTF-8: {error.reason}") from error


def _time(parts: Parts) -> str | None:
    return _moment(parts, lambda seconds, _: format_time(seconds))


def _micro_time(parts: Parts) -> str | None:
    return _moment(parts, lambda seconds, nanos: format_micro(seconds + nanos / 1e9))


def _moment(parts: Parts, formatted: Callable[[int, int], str]) -> str | None:
    if not parts:
        return None
    seconds = _number(parts.get(1, 0))
    try:
        return formatted(seconds, _number(parts.get(2, 0)))
    except (OverflowError, ValueError) as error:
        raise InvalidError(f"a time of {seconds} s since 1970") from error


def _quantity(parts: Parts) -> str:
    return _text(parts.get(1, b""))


def _int_or_string(parts: Parts) -> int | str:
    return _text(parts.get(3, b"")) if parts.get(1) else _number(parts.get(2, 0))


_PLAIN: dict[str, Callable[[int | bytes], Any]] = {
    "string": _text,
    "boolean": lambda raw: bool(_number(raw)),
    "int": _number,
    "bytes": lambda raw: base64.b64encode(_bytes(raw)).decode("ascii"),
    "skip": lambda _: None,
    "unknown": bool,  # one that asks for nothing is left out
}
_SMALL: dict[str, Callable[[Parts], Any]] = {
    "Time": _time,
    "MicroTime": _micro_time,
    "Quantity": _quantity,
    "IntOrString": _int_or_string,
}
