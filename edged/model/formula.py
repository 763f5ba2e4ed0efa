"""A property that is computed from others: a strict subset of Python's expressions, parsed by `ast`, never evaluated by it.

Numbers are exact decimals of at most DIGITS digits. There are + - * / // % and ** (of small whole exponents), comparisons
(also chained), `and`, `or`, `not`, `a if b else c`, and the functions of FUNCTIONS. There is no text, no attribute, no
index, no other call: an expression costs a bounded time and a bounded memory whatever its text and its inputs are.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from decimal import ROUND_FLOOR, Context, Decimal, DecimalException, DivisionByZero, InvalidOperation, Overflow
from typing import Any

from edged.model.values import MAX_MAGNITUDE, Value, to_text

MAX_TEXT = 512  # characters
MAX_NODES = 128  # parts of an expression
MAX_DEPTH = 16  # of parts in parts: Python's own parser is safe that deep
MAX_EXPONENT = 64
DIGITS = 40  # more than a 64-bit number squared has

CONTEXT = Context(prec=DIGITS, Emax=MAX_MAGNITUDE, Emin=-MAX_MAGNITUDE, traps=[InvalidOperation, DivisionByZero, Overflow])

Number = Decimal | bool
Read = Callable[[Mapping[str, Value]], Number]


def _round(number: Decimal, places: Decimal = Decimal(0)) -> Decimal:
    if places != places.to_integral_value() or not 0 <= places <= DIGITS:
        raise ValueError(f"round: expected 0 to {DIGITS} places, got {to_text(places)}")
    return number.quantize(Decimal(1).scaleb(-int(places)), context=CONTEXT)


def _power(base: Decimal, exponent: Decimal) -> Decimal:
    if exponent != exponent.to_integral_value() or abs(exponent) > MAX_EXPONENT:
        raise ValueError(f"**: expected a whole exponent from -{MAX_EXPONENT} to {MAX_EXPONENT}, got {to_text(exponent)}")
    return CONTEXT.power(base, exponent)


def _floor_divide(one: Decimal, other: Decimal) -> Decimal:
    """As Python's integers do it: towards minus infinity, which Decimal's // does not."""
    return CONTEXT.divide(one, other).to_integral_value(ROUND_FLOOR)


def _modulo(one: Decimal, other: Decimal) -> Decimal:
    return CONTEXT.subtract(one, CONTEXT.multiply(other, _floor_divide(one, other)))


OPERATORS: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: CONTEXT.add,
    ast.Sub: CONTEXT.subtract,
    ast.Mult: CONTEXT.multiply,
    ast.Div: CONTEXT.divide,
    ast.FloorDiv: _floor_divide,
    ast.Mod: _modulo,
    ast.Pow: _power,
}
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
FUNCTIONS: dict[str, tuple[int, int, Callable[..., Decimal]]] = {  # name: fewest and most arguments
    "abs": (1, 1, CONTEXT.abs),
    "max": (1, MAX_NODES, max),
    "min": (1, MAX_NODES, min),
    "round": (1, 2, _round),
    "sqrt": (1, 1, CONTEXT.sqrt),
}


class Formula:
    """An expression over the properties `names`. Two of the same text are equal. It takes the place of a Point."""

    writable = False

    def __init__(self, text: str) -> None:
        """ValueError says what is wrong, and where in the text."""
        self.text = text
        found: set[str] = set()
        self._read = _Compiler(found).whole(text)
        self.names = frozenset(found)

    def value(self, type_: str, values: Mapping[str, Value]) -> Value:
        """What it comes to with these values, as a model type. ValueError in words: an input is missing, a division by zero."""
        try:
            found = self._read(values)
            number = CONTEXT.plus(_decimal(found))
        except DivisionByZero as error:
            raise ValueError("divides by zero") from error
        except DecimalException as error:
            raise ValueError(f"comes to no number between -1e{MAX_MAGNITUDE} and 1e{MAX_MAGNITUDE}") from error
        if not number.is_finite():  # 0 ** -1 traps nothing
            raise ValueError("divides by zero")
        if type_ == "BOOLEAN":
            return bool(number)
        return Decimal(int(number)) if type_ == "INT" else number

    def nearest(self, value: Value) -> Value:
        """Nothing can be written there."""
        raise ValueError(f"{to_text(value)} cannot be written: it is computed from other properties")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Formula) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Formula({self.text!r})"


class _Compiler:
    """Turns parts of an expression into functions of the values. Collects the names that it meets."""

    def __init__(self, names: set[str]) -> None:
        self._names, self._nodes = names, 0

    def whole(self, text: str) -> Read:
        if len(text) > MAX_TEXT:
            raise ValueError(f"{len(text)} characters, at most {MAX_TEXT} are taken")
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            where = f" at character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
            raise ValueError(f"{text!r} is no expression{where}") from error
        return self._part(tree.body, 0)

    def _part(self, node: ast.expr, depth: int) -> Read:
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise ValueError(f"an expression has at most {MAX_NODES} parts, {MAX_DEPTH} deep")
        compile_ = getattr(self, f"_{type(node).__name__.lower()}", None)
        if compile_ is None:
            raise _not_taken(node)
        read: Read = compile_(node, depth + 1)
        return read

    def _constant(self, node: ast.Constant, _: int) -> Read:
        value = node.value
        if isinstance(value, bool):
            return lambda _: value
        if not isinstance(value, int | float):
            raise _not_taken(node)
        number = CONTEXT.create_decimal(repr(value) if isinstance(value, float) else str(value))
        return lambda _: number

    def _name(self, node: ast.Name, _: int) -> Read:
        name = node.id
        self._names.add(name)

        def read(values: Mapping[str, Value]) -> Number:
            value = values.get(name)
            if value is None:
                raise ValueError(f"{name} has no value")
            if not isinstance(value, Decimal):  # a bool is a Decimal's equal, not its kind
                if isinstance(value, bool):
                    return value
                raise ValueError(f"{name} is no number")
            return value

        return read

    def _binop(self, node: ast.BinOp, depth: int) -> Read:
        apply = OPERATORS.get(type(node.op))
        if apply is None:
            raise _not_taken(node)
        left, right = self._part(node.left, depth), self._part(node.right, depth)
        return lambda values: apply(_decimal(left(values)), _decimal(right(values)))

    def _unaryop(self, node: ast.UnaryOp, depth: int) -> Read:
        operand = self._part(node.operand, depth)
        if isinstance(node.op, ast.Not):
            return lambda values: not operand(values)
        if isinstance(node.op, ast.USub):
            return lambda values: CONTEXT.minus(_decimal(operand(values)))
        if isinstance(node.op, ast.UAdd):
            return lambda values: _decimal(operand(values))
        raise _not_taken(node)

    def _boolop(self, node: ast.BoolOp, depth: int) -> Read:
        parts = [self._part(each, depth) for each in node.values]
        if isinstance(node.op, ast.And):
            return lambda values: all(part(values) for part in parts)
        return lambda values: any(part(values) for part in parts)

    def _compare(self, node: ast.Compare, depth: int) -> Read:
        parts = [self._part(each, depth) for each in (node.left, *node.comparators)]
        known = [COMPARISONS.get(type(each)) for each in node.ops]
        if None in known:
            raise _not_taken(node)
        tests = [each for each in known if each is not None]

        def read(values: Mapping[str, Value]) -> bool:
            found = [part(values) for part in parts]
            return all(test(found[at], found[at + 1]) for at, test in enumerate(tests))

        return read

    def _ifexp(self, node: ast.IfExp, depth: int) -> Read:
        test, then, other = (self._part(each, depth) for each in (node.test, node.body, node.orelse))
        return lambda values: then(values) if test(values) else other(values)

    def _call(self, node: ast.Call, depth: int) -> Read:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in FUNCTIONS:
            raise ValueError(f"there is no function {name or ast.unparse(node.func)}: expected {', '.join(FUNCTIONS)}")
        fewest, most, function = FUNCTIONS[name]
        if node.keywords or not fewest <= len(node.args) <= most:
            count = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise ValueError(f"{name} takes {count} arguments, got {len(node.args) + len(node.keywords)}")
        arguments = [self._part(each, depth) for each in node.args]
        return lambda values: function(*[_decimal(argument(values)) for argument in arguments])


def _decimal(number: Number) -> Decimal:
    return Decimal(number) if isinstance(number, bool) else number


def _not_taken(node: ast.expr) -> ValueError:
    what = ast.unparse(node)
    shown = what if len(what) <= 40 else what[:37] + "..."
    taken = "numbers, properties, + - * / // % **, comparisons, and, or, not, if else"
    return ValueError(f"{shown} is not taken at character {node.col_offset + 1}: expected {taken}")
