"""A mapper's configData into a typed struct; every mistake names its field, what was expected and what was got."""

import difflib
from typing import TypeVar

import msgspec
from msgspec import inspect

from edged.errors import Cause, InvalidError
from edged.model.meta import JSON

T = TypeVar("T", bound=msgspec.Struct)


def convert(config: JSON, type_: type[T]) -> T:
    """`config` as a `type_`, numbers and booleans also when written as text (KubeEdge's samples do both).

    InvalidError has a cause for every field that is wrong, unknown or missing.
    """
    info = inspect.type_info(type_)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{type_} is no struct")
    fields = {field.encode_name: field for field in info.fields}
    causes = [_unknown(name, list(fields)) for name in config if name not in fields]
    kinds = {field.encode_name: field.type for field in msgspec.structs.fields(type_)}
    for name, field in fields.items():
        if name in config:
            try:
                msgspec.convert(config[name], kinds[name], strict=False)
            except msgspec.ValidationError as error:
                causes.append(Cause(name, "FieldValueInvalid", f"{_words(str(error), field.type)}, got {_shown(config[name])}"))
        elif field.required:
            causes.append(Cause(name, "FieldValueRequired", "is missing"))
    if causes:
        raise invalid(causes)
    return msgspec.convert(config, type_, strict=False)


def invalid(causes: list[Cause]) -> InvalidError:
    """The error of these causes, all of them in its text."""
    return InvalidError(
        "; ".join(f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes), causes
    )


def _unknown(name: str, known: list[str]) -> Cause:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
    return Cause(name, "FieldValueInvalid", f"is unknown; {hint}")


def _words(error: str, type_: inspect.Type) -> str:
    if isinstance(type_, inspect.UnionType):  # a field that may be left out
        type_ = next(each for each in type_.types if not isinstance(each, inspect.NoneType))
    if isinstance(type_, inspect.LiteralType):
        return f"expected one of {', '.join(str(value) for value in type_.values)}"
    if isinstance(type_, inspect.IntType) and type_.ge is not None and type_.le is not None:
        return f"expected a whole number from {type_.ge} to {type_.le}"
    text = error[0].lower() + error[1:]
    return text.partition(", got")[0].replace("`", "")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
