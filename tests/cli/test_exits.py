import pytest

from edged.cli import exits
from edged.errors import AlreadyExistsError, DeniedError, InvalidError, StorageError, UnreachableError
from edged.kit.settings import ConfigError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (InvalidError("x"), 2),
        (UnreachableError("x"), 4),
        (DeniedError("x"), 5),
        (PermissionError(13, "Permission denied", "x"), 5),
        (StorageError("x"), 1),
        (AlreadyExistsError("x"), 1),
        (FileNotFoundError(2, "No such file", "x"), 1),
        (ValueError("a bug"), None),
    ],
)
def test_each_declared_error_has_its_code_and_a_bug_has_none(error: Exception, code: int | None) -> None:
    assert exits.code(error) == code
    assert exits.declared(error) is (error if code is not None else None)


def test_a_group_is_declared_when_all_in_it_is() -> None:
    away, bug = UnreachableError("away"), ValueError("bug")
    assert exits.declared(ExceptionGroup("", [ExceptionGroup("", [away]), OSError(5, "x")])) is away
    assert exits.declared(ExceptionGroup("", [away, bug])) is None


def test_an_error_is_told_in_one_line() -> None:
    assert exits.line(FileNotFoundError(2, "No such file", "/x")) == "/x: No such file"
    assert exits.line(OSError("plain")) == "plain"
    assert exits.line(InvalidError("two\n  lines")) == "two lines"
