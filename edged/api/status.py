"""Errors as Kubernetes says them: a metav1 Status (API conventions, "Response Status Kind")."""

from collections.abc import Sequence

from edged.api.exchange import Answer, json_answer
from edged.errors import (
    AlreadyExistsError,
    Cause,
    ConflictError,
    DeniedError,
    EdgedError,
    ExpiredError,
    InvalidError,
    NotFoundError,
    QuotaError,
    StorageError,
    UnreachableError,
)
from edged.model.kinds import Row
from edged.model.meta import JSON

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    408: "Timeout",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    507: "InsufficientStorage",
}
_CODES: dict[type[EdgedError], int] = {
    NotFoundError: 404,
    AlreadyExistsError: 409,
    ConflictError: 409,
    ExpiredError: 410,
    DeniedError: 403,
    UnreachableError: 503,
    QuotaError: 403,
    StorageError: 507,
}
MAX_CAUSES = 32  # causes that an answer lists: enough to repair a manifest, and a hostile one earns no long answer


class StatusError(EdgedError):
    """A request cannot be done, and this is its answer."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str = "",
        kind: str = "",
        group: str = "",
        name: str = "",
        causes: Sequence[Cause] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason or REASONS.get(code, "")
        self.details: JSON = {"name": name, "group": group, "kind": kind}
        self.causes = list(causes)

    def status(self) -> JSON:
        """As a Status object."""
        status: JSON = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": str(self)}
        details = {name: value for name, value in self.details.items() if value}
        if self.causes:
            listed = self.causes[:MAX_CAUSES]
            details["causes"] = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in listed]
        if self.code == 429:
            details["retryAfterSeconds"] = 1
        if details:
            status["details"] = details
        return {**status, "reason": self.reason, "code": self.code}

    def answer(self) -> Answer:
        """As the answer to a request."""
        return json_answer(self.code, self.status(), [("Retry-After", "1")] if self.code == 429 else [])


def not_found(row: Row, name: str) -> StatusError:
    """There is no object of this name."""
    return _about(404, row, name, f'{row.resource} "{name}" not found')


def already_exists(row: Row, name: str) -> StatusError:
    """There is an object of this name."""
    return _about(409, row, name, f'{row.resource} "{name}" already exists', "AlreadyExists")


def conflict(row: Row, name: str, why: str = "") -> StatusError:
    """The object is not, or no longer, the one that the caller means."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    return _about(409, row, name, f'Operation cannot be fulfilled on {row.resource} "{name}": {why}')


def forbidden(row: Row, name: str, why: str) -> StatusError:
    """Nobody may do this to this object."""
    return _about(403, row, name, f'{row.resource} "{name}" is forbidden: {why}')


def invalid(row: Row, name: str, causes: Sequence[Cause]) -> StatusError:
    """The object is not what its kind asks for; each cause names its field."""
    return invalid_part(row.kind, row.group, name, causes)


def invalid_part(kind: str, group: str, name: str, causes: Sequence[Cause]) -> StatusError:
    """The same of something that is no stored object: options, a Scale."""
    shown = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes[:MAX_CAUSES]]
    if len(causes) > MAX_CAUSES:
        shown.append(f"and {len(causes) - MAX_CAUSES} more")
    text = shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
    message = f'{kind} "{name}" is invalid: {text}'
    return StatusError(422, message, kind=kind, group=group, name=name, causes=causes)


def invalid_option(cause: Cause) -> StatusError:
    """An option of the request is none of those that there are."""
    return invalid_part("Options", "meta.k8s.io", "", [cause])


def of_error(error: EdgedError, row: Row | None = None, name: str = "") -> StatusError:
    """Any declared error as a Status. `row` and `name` say what the request is about."""
    if isinstance(error, StatusError):
        return error
    if isinstance(error, InvalidError):
        return invalid(row, name, error.causes) if row and error.causes else StatusError(400, str(error), causes=error.causes)
    if row is not None and isinstance(error, NotFoundError):
        return not_found(row, name)
    if row is not None and isinstance(error, AlreadyExistsError):
        return already_exists(row, name)
    code = next((code for type_, code in _CODES.items() if isinstance(error, type_)), 500)
    return StatusError(code, str(error)) if row is None else _about(code, row, name, str(error))


def _about(code: int, row: Row, name: str, message: str, reason: str = "") -> StatusError:
    return StatusError(code, message, reason=reason, kind=row.plural, group=row.group, name=name)
