"""A PATCH body as a function from what is to what shall be, by its content type (RFC 6902, RFC 7386, strategic merge)."""

from collections.abc import Callable

from edged.api.status import StatusError
from edged.model.documents import read
from edged.model.meta import JSON
from edged.model.patch import json_patch, merge_patch, strategic_merge_patch

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")
STRATEGIC_GROUPS = ("", "apps")  # custom kinds have no strategic merge, in Kubernetes neither: clients then send a merge patch

Change = Callable[[JSON], JSON]


def patched(kind: str, group: str, content_type: str, body: bytes) -> Change:
    """The change that a body asks for on an object of `kind`. StatusError 400 or 415."""
    if content_type in APPLY:
        raise StatusError(415, "server-side apply is not there yet: apply without --server-side")
    allowed = (JSON_PATCH, MERGE_PATCH, *([STRATEGIC] if group in STRATEGIC_GROUPS else []))
    if content_type not in allowed:
        accepted = ", ".join(allowed)
        raise StatusError(415, f"the body of the request was in an unknown format - accepted media types include: {accepted}")
    change = read(body, "application/json")
    if content_type == JSON_PATCH:
        return lambda value: json_patch(value, change)
    if content_type == MERGE_PATCH:
        return lambda value: merge_patch(value, change)
    return lambda value: strategic_merge_patch(value, change, kind)
