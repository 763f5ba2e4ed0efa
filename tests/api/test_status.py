import pytest

from edged.api.status import MAX_CAUSES, StatusError, invalid, of_error
from edged.errors import (
    AlreadyExistsError,
    Cause,
    ConflictError,
    DeniedError,
    EdgedError,
    ExpiredError,
    InvalidError,
    NotFoundError,
    StorageError,
    UnreachableError,
)
from edged.model.kinds import BY_RESOURCE

PODS, DEPLOYMENTS = BY_RESOURCE["pods"], BY_RESOURCE["deployments.apps"]
CAUSE = Cause("spec.x", "FieldValueInvalid", "Invalid value: 1: no")


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (NotFoundError("x"), 404, "NotFound"),
        (AlreadyExistsError("x"), 409, "AlreadyExists"),
        (ConflictError("x"), 409, "Conflict"),
        (ExpiredError("x"), 410, "Expired"),
        (DeniedError("x"), 403, "Forbidden"),
        (UnreachableError("x"), 503, "ServiceUnavailable"),
        (StorageError("x"), 507, "InsufficientStorage"),
        (InvalidError("x"), 400, "BadRequest"),
        (InvalidError("x", [CAUSE]), 422, "Invalid"),
        (StatusError(429, "x"), 429, "TooManyRequests"),
        (EdgedError("x"), 500, "InternalError"),
    ],
)
def test_every_declared_error_has_its_code(error: EdgedError, code: int, reason: str) -> None:
    status = of_error(error, PODS, "web").status()
    assert (status["kind"], status["status"], status["code"], status["reason"]) == ("Status", "Failure", code, reason)


def test_details() -> None:
    error = invalid(DEPLOYMENTS, "web", [CAUSE, CAUSE])
    status = error.status()
    assert status["message"].startswith('Deployment "web" is invalid: [spec.x: Invalid value: 1: no, ')
    cause = {"reason": "FieldValueInvalid", "message": "Invalid value: 1: no", "field": "spec.x"}
    assert status["details"] == {"name": "web", "group": "apps", "kind": "Deployment", "causes": [cause, cause]}
    many = invalid(PODS, "web", [CAUSE] * (MAX_CAUSES + 3))
    assert "and 3 more]" in str(many)
    assert len(many.status()["details"]["causes"]) == MAX_CAUSES
    assert StatusError(429, "x").answer().headers[-1] == ("Retry-After", "1")
