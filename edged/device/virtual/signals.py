"""What the properties of a virtual device say: constants, counters, sines, random walks, columns of a CSV file. Pure."""

import csv
import io
import math
from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Annotated, Literal

import msgspec

from edged.device.configdata import convert, invalid
from edged.device.mapper import PropertyError
from edged.errors import Cause
from edged.model.meta import JSON
from edged.model.values import NUMBERS, Value, from_text

CONSTANT, COUNTER, SINE, WALK, REPLAY = "constant", "counter", "sine", "randomWalk", "replay"
MAX_DECIMALS = 9
MAX_FILE = 8 << 20  # bytes; a week of values each second, and small enough to hold in memory
NAME = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$"  # of a file: no path, so nothing outside its directory can be named
KINDS = {CONSTANT: {"value"}, COUNTER: {"start", "step", "wrap"}, SINE: {"amplitude", "mean", "period", "phase", "decimals"}}
KINDS |= {WALK: {"start", "step", "minimum", "maximum", "decimals", "seed"}, REPLAY: {"file", "column"}}

Number = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]  # what a float holds with some decimals


class Visitor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`visitors.configData` of a property; which fields a kind has is in the room's README. Times in seconds."""

    kind: Literal["constant", "counter", "sine", "randomWalk", "replay"]
    value: str = ""
    start: Number = 0
    step: Number = 1
    wrap: Number | None = None
    amplitude: Number = 1
    mean: Number = 0
    period: Annotated[float, msgspec.Meta(gt=0, le=1e9)] = 60
    phase: Number = 0
    minimum: Number | None = None
    maximum: Number | None = None
    decimals: Annotated[int, msgspec.Meta(ge=0, le=MAX_DECIMALS)] = 2
    seed: int = 0
    file: Annotated[str, msgspec.Meta(pattern=NAME)] | None = None
    column: str = ""


class Signal(msgspec.Struct, frozen=True):
    """A property of model type `type` and what it says. Make it with `signal`."""

    type: str
    visitor: Visitor

    @property
    def writable(self) -> bool:
        """A constant is."""
        return self.visitor.kind == CONSTANT

    def nearest(self, value: Value) -> Value:
        """A constant holds every value."""
        return value


def signal(type_: str, config: JSON) -> Signal:
    """What a property says, from its visitor's configData. InvalidError names every field that is wrong."""
    visitor = convert(config, Visitor)
    foreign = sorted(set(config) - KINDS[visitor.kind] - {"kind"})
    causes = [Cause(field, "FieldValueInvalid", f"a {visitor.kind} has no {field}") for field in foreign]
    causes += [Cause(field, "FieldValueInvalid", message) for field, message in _mistakes(type_, visitor)]
    if causes:
        raise invalid(causes)
    return Signal(type_, visitor)


def _mistakes(type_: str, visitor: Visitor) -> list[tuple[str, str]]:
    found = []
    kind = visitor.kind
    if type_ == "STREAM":
        found.append(("kind", "there is no virtual STREAM"))
    elif kind in {COUNTER, SINE, WALK} and type_ not in NUMBERS:
        found.append(("kind", f"a {kind} is a number: its type is one of {', '.join(NUMBERS)}, the model says {type_}"))
    elif kind == CONSTANT:
        try:
            from_text(type_, visitor.value)
        except ValueError as error:
            found.append(("value", str(error)))
    if kind == REPLAY and visitor.file is None:
        found.append(("file", "is missing"))
    low, high = visitor.minimum, visitor.maximum
    if low is not None and high is not None and low > high:
        found.append(("minimum", f"expected at most the maximum {high:g}, got {low:g}"))
    return found


class Generator:
    """Says what a signal says. `rows` is the column that it replays."""

    def __init__(self, signal: Signal, rows: Sequence[str] = ()) -> None:
        visitor = signal.visitor
        self._signal, self._rows, self._row = signal, rows, 0
        self._random = Random(visitor.seed)  # noqa: S311  a walk, no secret
        self._number = visitor.start - visitor.step if visitor.kind == COUNTER else visitor.start
        self._constant = from_text(signal.type, visitor.value) if visitor.kind == CONSTANT else None

    def next(self, now: float) -> Value:
        """The value at a time in seconds. PropertyError: a row holds none of the type."""
        if self._constant is not None:
            return self._constant
        visitor = self._signal.visitor
        if visitor.kind == REPLAY:
            return self._replayed()
        if visitor.kind == SINE:
            turn = math.tau * (now + visitor.phase) / visitor.period
            return self._rounded(visitor.mean + visitor.amplitude * math.sin(turn))
        if visitor.kind == COUNTER:
            self._number += visitor.step
            if visitor.wrap is not None and (self._number - visitor.wrap) * visitor.step > 0:
                self._number = visitor.start
            return self._rounded(self._number, MAX_DECIMALS)
        self._number += self._random.uniform(-visitor.step, visitor.step)
        self._number = max(self._number, -math.inf if visitor.minimum is None else visitor.minimum)
        self._number = min(self._number, math.inf if visitor.maximum is None else visitor.maximum)
        return self._rounded(self._number)

    def hold(self, value: Value) -> None:
        """From now on a constant says this."""
        self._constant = value

    def _replayed(self) -> Value:
        text = self._rows[self._row]
        self._row = (self._row + 1) % len(self._rows)
        try:
            return from_text(self._signal.type, text)
        except ValueError as error:
            raise PropertyError(f"holds no {self._signal.type} in this row: {error}") from error

    def _rounded(self, number: float, decimals: int | None = None) -> Decimal:
        places = 0 if self._signal.type == "INT" else self._signal.visitor.decimals if decimals is None else decimals
        return Decimal(f"{number:.{places}f}")


def column(data: bytes, name: str) -> list[str]:
    """A column of a CSV file (RFC 4180, UTF-8, with a header). PropertyError says what is wrong with the file."""
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise PropertyError(f"is no CSV file: {error}") from error
    if not rows:
        raise PropertyError("has no rows")
    if name not in rows[0]:
        raise PropertyError(f'has no column "{name}", only {", ".join(str(each) for each in rows[0])}')
    return [row[name] or "" for row in rows]
