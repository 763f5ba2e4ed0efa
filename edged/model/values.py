"""Values of properties: from the text that a twin carries into a typed value, and back."""

from decimal import Context, Decimal, InvalidOperation

Value = Decimal | bool | str | bytes

TYPES = ("INT", "FLOAT", "DOUBLE", "STRING", "BOOLEAN", "BYTES", "STREAM")
NUMBERS = TYPES[:3]
MAX_TEXT = 512  # characters of a twin's value, KubeEdge's limit
MAX_MAGNITUDE = 400  # powers of ten; beyond a double (308), and small enough that no number costs memory to write out
PLAIN_MAGNITUDE = 21  # numbers up to 64 bits are written out; larger ones with an exponent
BOOLEANS = {"true": True, "false": False, "1": True, "0": False}

EXACT = Context(prec=2 * MAX_TEXT, Emax=999_999, Emin=-999_999)  # nothing that is computed here needs rounding


def from_text(type_: str, text: str) -> Value:
    """The value of a model type that `text` means. ValueError says what was expected."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"{len(text)} characters, at most {MAX_TEXT} are taken")
    if type_ in NUMBERS:
        return _number(type_, text)
    if type_ == "BOOLEAN":
        if text.lower() not in BOOLEANS:
            raise ValueError(f'expected true or false, got "{text}"')
        return BOOLEANS[text.lower()]
    if type_ == "STRING":
        return text
    if type_ == "BYTES":
        try:
            return bytes.fromhex(text)
        except ValueError as error:
            raise ValueError(f'expected bytes in hexadecimal digits, got "{text}"') from error
    raise ValueError(f'values of the type "{type_}" cannot be written as text')


def _number(type_: str, text: str) -> Decimal:
    number = decimal(text)
    if type_ == "INT" and number != number.to_integral_value():
        raise ValueError(f'expected a whole number, got "{text}"')
    return number


def decimal(text: str) -> Decimal:
    """The finite number in `text`, exactly. ValueError when it is none, or of no use to a device."""
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f'expected a number, got "{text}"') from error
    if not number.is_finite() or (number and abs(number.adjusted()) > MAX_MAGNITUDE):
        raise ValueError(f'expected a number between -1e{MAX_MAGNITUDE} and 1e{MAX_MAGNITUDE}, got "{text}"')
    return number


def to_text(value: Value) -> str:
    """A value as a twin carries it: numbers without trailing zeros, true or false, bytes in hexadecimal digits."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        if not value:
            return "0"
        text = str(value)
        if len(text) < PLAIN_MAGNITUDE and "E" not in text and (text[-1] != "0" or "." not in text):
            return text  # as nearly all numbers are; what follows takes four times as long
        short = value.normalize(EXACT)
        return format(short, "f") if abs(short.adjusted()) < PLAIN_MAGNITUDE else str(short)
    return value


def outside(value: Value, minimum: Decimal | None, maximum: Decimal | None) -> str:
    """What is wrong with a value's size, in words ("over its maximum 80"); "" when nothing is."""
    if isinstance(value, Decimal):
        if minimum is not None and value < minimum:
            return f"under its minimum {to_text(minimum)}"
        if maximum is not None and value > maximum:
            return f"over its maximum {to_text(maximum)}"
    return ""
