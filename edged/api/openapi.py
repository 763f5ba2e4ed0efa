"""OpenAPI as far as kubectl needs it: which writes check their fields on this side (`fieldValidation`), and no schemas.

With that known, kubectl sends manifests as they are, and `edged.model.schema` is the one place that knows the fields.
kubectl before 1.25 checks by itself, by a version 2 document in protobuf; a document without definitions makes it skip.
"""

from edged import __version__
from edged.model.kinds import SPOKEN
from edged.model.meta import JSON

PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
PROTOBUF_V2_ANSWER = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"  # an "@" is no part of a media type
_TITLE = "edged"


def v2() -> JSON:
    """`/openapi/v2` as JSON (Swagger 2.0)."""
    return {"swagger": "2.0", "info": {"title": _TITLE, "version": __version__}, "paths": {}}


def v2_protobuf() -> bytes:
    """`/openapi/v2` as protobuf: gnostic's Document of swagger (1), info (2) with title (1) and version (2), paths (8)."""
    info = _field(1, _TITLE.encode()) + _field(2, __version__.encode())
    return _field(1, b"2.0") + _field(2, info) + _field(8, b"")


def v3(path: str) -> JSON | None:
    """`/openapi/v3`, the list of documents, or one of them (`/openapi/v3/apis/apps/v1`); None for any other path."""
    documents = {_place(row.api_version): row.api_version for row in SPOKEN}
    wanted = path.removeprefix("/openapi/v3").strip("/")
    if not wanted:
        return {"paths": {place: {"serverRelativeURL": f"/openapi/v3/{place}"} for place in documents}}
    return _document(documents[wanted]) if wanted in documents else None


def _document(api_version: str) -> JSON:
    paths: JSON = {}
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for row in SPOKEN:
        if row.api_version != api_version:
            continue
        namespace = "namespaces/{namespace}/" if row.namespaced else ""
        kind = {"group": row.group, "version": row.version, "kind": row.kind}
        writes = {
            method: {"parameters": [parameter], "responses": {}, "x-kubernetes-group-version-kind": kind}
            for method in ("put", "patch")
        }
        paths[f"/{_place(api_version)}/{namespace}{row.plural}/{{name}}"] = writes
    return {"openapi": "3.0.0", "info": {"title": _TITLE, "version": __version__}, "paths": paths, "components": {}}


def _place(api_version: str) -> str:
    return f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field of under 128 bytes."""
    return bytes([number << 3 | 2, len(data)]) + data
