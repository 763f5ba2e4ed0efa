"""What form of an answer a client takes: plain objects, a Table, or metadata only (Accept with `as`, `g` and `v`)."""

from typing import NamedTuple

from edged.api.status import StatusError

PLAIN = ""
TABLE = "Table"
PARTIAL = "PartialObjectMetadata"
META_GROUP = "meta.k8s.io"
_JSON = ("application/json", "application/*", "*/*")
_VERSIONS = ("v1", "v1beta1")


class Form(NamedTuple):
    """`what` is PLAIN, TABLE or PARTIAL, in `version` of meta.k8s.io."""

    what: str
    version: str = "v1"

    @property
    def api_version(self) -> str:
        """`meta.k8s.io/v1`."""
        return f"{META_GROUP}/{self.version}"


def form(accept: str) -> Form:
    """The first form in an Accept header that can be given; StatusError 406 when none can."""
    for clause in accept.split(","):
        media, *parts = (part.strip() for part in clause.split(";"))
        if media not in _JSON:
            continue
        parameters = dict(part.partition("=")[::2] for part in parts)
        what, version = parameters.get("as", PLAIN).removesuffix("List"), parameters.get("v", "v1")
        if what == PLAIN:
            return Form(PLAIN)
        if what in (TABLE, PARTIAL) and version in _VERSIONS and parameters.get("g") == META_GROUP:
            return Form(what, version)
    raise StatusError(406, "only the following media types are accepted: application/json")
