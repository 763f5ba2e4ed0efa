"""What every kind shares: metadata, owners, label selectors, conditions (Kubernetes API conventions, meta/v1)."""

from typing import Any

import msgspec


class Part(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A part of a kind: frozen, its fields in the API's camelCase. Fields that edged does not act on are not here.

    They are kept in the object's stored body all the same; `edged.model.schema` knows them.
    """


class OwnerReference(Part, frozen=True):
    """Who made an object; with `controller` true, who manages it."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(Part, frozen=True):
    """An object's metadata. Times are RFC 3339 in UTC with whole seconds, as the API writes them."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()


class LabelSelectorRequirement(Part, frozen=True):
    """One expression of a label selector; `operator` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class LabelSelector(Part, frozen=True):
    """Objects whose labels match all of both lists; an empty one matches everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class Condition(Part, frozen=True):
    """One aspect of a status: `status` is "True", "False" or "Unknown"."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None
    last_heartbeat_time: str | None = None
    last_update_time: str | None = None


class Kind(Part, frozen=True):
    """A whole object: what each registered kind's struct extends with its spec and status."""

    api_version: str
    kind: str
    metadata: ObjectMeta = ObjectMeta()


JSON = dict[str, Any]
