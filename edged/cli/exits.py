"""Exit codes, and which error ends with which."""

from edged.errors import DeniedError, EdgedError, InvalidError, UnreachableError
from edged.kit.settings import ConfigError

OK = 0
FAILED = 1
USAGE = 2  # what was typed, or a setting, cannot be used
DEGRADED = 3  # it works, but something is away
UNREACHABLE = 4
DENIED = 5
INTERRUPTED = 130  # 128 and SIGINT, as shells have it

_CODES: tuple[tuple[type[Exception], int], ...] = (
    (ConfigError, USAGE),
    (InvalidError, USAGE),
    (UnreachableError, UNREACHABLE),
    (DeniedError, DENIED),
    (PermissionError, DENIED),
    (EdgedError, FAILED),
    (OSError, FAILED),
)


def code(error: BaseException) -> int | None:
    """The exit code of a declared error; None for a bug, which is to be seen whole."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), None)


def declared(error: BaseException) -> BaseException | None:
    """The first error in `error` (which may be a group) when all in it are declared, else None."""
    if isinstance(error, BaseExceptionGroup):
        inner = [declared(one) for one in error.exceptions]
        return inner[0] if all(inner) else None
    return error if code(error) is not None else None


def line(error: BaseException) -> str:
    """The error's text as one line for a person."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, EdgedError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return " ".join(str(error).split())
