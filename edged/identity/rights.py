"""Who may write what: the registers that each node's certificate allows it to write. Pure.

A node of a group writes all that its people and its controllers ask of it: whoever may serve `kubectl` must be able to. A
*limited* node (`edged fleet issue --limited`, for a gateway in a place that is not safe) writes only

- its own Node, body and status;
- Events that it reports itself, and their end;
- the status, and the end, of Pods bound to it;
- the status of Devices that it serves.

The fleet's objects are written by every node of every group that is not limited, as the group's are by its own: a fleet is
run by the same people everywhere. Only a ServiceImport is made and changed by the group alone whose service it is, so that
no site answers in another's name; anybody may end one, for a group that is no more can not.

What a node may not write is decided from its certificate and, for limited ones, from the body that the status is about, so
every receiver comes to the same answer. Whether a node held the group's lease when it wrote is nothing on which receivers
that saw different things could agree; so the right to hold it is in the certificate, too.
"""

import json
from typing import Any

from edged.identity.certificates import Subject
from edged.model.kinds import BY_RESOURCE, BY_STRUCT
from edged.model.multicluster import ServiceImport, group_of
from edged.wire.sync import BODY, FLEET, STATUS, Register, home_of, node_of, scope_of

YES = "yes"
NOT_YET = "not yet"
_IMPORTS = BY_STRUCT[ServiceImport].resource


def may_write(subject: Subject, register: Register, body: Register | None) -> str:
    """Whether the node that `subject` names may write `register`. `body` is the body that stands there now, if any does.

    YES, NOT_YET when that depends on a body that has not come here, or why not.
    """
    scope = scope_of(register.origin)
    writer = home_of(register.origin), node_of(register.origin)
    if writer != (subject.group, subject.name) or scope not in (subject.group, FLEET):
        return f"{subject.uri} signed a register of {register.origin}"
    row = BY_RESOURCE.get(register.resource)
    if row is not None and (row.scope == "fleet") != (scope == FLEET):
        return f"{register.resource} of the {'group' if scope != FLEET else 'fleet'}, where they are the other's"
    if subject.limited:
        return _limited(subject.name, register, body)
    if register.resource == _IMPORTS and register.value is not None and group_of(register.name) != subject.group:
        return f"{subject.uri} wrote the import of a service of group {group_of(register.name)}"
    return YES


def _limited(node: str, register: Register, body: Register | None) -> str:
    refusal = f"a limited node may not write the {register.part} of {register.resource} {register.namespace}/{register.name}"
    ends = register.part == BODY and register.value is None
    match register.resource:
        case "nodes":
            return YES if register.name == node else refusal
        case "events":
            said = register.value or (body.value if body is not None else None)
            return YES if said is None or _field(said, "reportingInstance") == node else refusal
        case "pods" if register.part == STATUS or ends:
            return _bound(node, body) or refusal
        case "devices.devices.kubeedge.io" if register.part == STATUS:
            return _bound(node, body) or refusal
    return refusal


def _bound(node: str, body: Register | None) -> str | None:
    """None when the body names another node. Of an object that is gone anything may be said: it is shown nowhere."""
    if body is None:
        return NOT_YET
    if body.value is None:
        return YES
    bound = _field(body.value, "spec", "nodeName")
    return YES if bound == node else NOT_YET if not bound else None


def _field(body: bytes, *path: str) -> Any:
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None  # a newer node may write what cannot be read here
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
