"""Who may call a service: what its annotations say. Pure.

- `edged.io/export: "true"` other groups see it, and may call it
- `apps.kubeedge.io/service-topology: range-nodegroup` calls stay in the group, whatever is exported
- `edged.io/allow-from: "namespace:shop, node:gw-b"` pods of these namespaces and whatever runs on these nodes, nobody else
"""

from collections.abc import Mapping
from typing import NamedTuple

from edged.model.core import Service
from edged.model.multicluster import EXPORT, EXPORTED

TOPOLOGY = "apps.kubeedge.io/service-topology"
IN_GROUP = "range-nodegroup"
ALLOW_FROM = "edged.io/allow-from"
_NAMESPACE, _NODE = "namespace", "node"


class AllowFrom(NamedTuple):
    """A caller passes who is on one of the nodes (NAME, GROUP/NAME in another group), or in one of the namespaces."""

    namespaces: frozenset[str]
    nodes: frozenset[str]

    def passes(self, node: str, namespace: str) -> bool:
        """Whether a call of a pod of `namespace` ("" when no pod calls) on `node` may be made."""
        return node in self.nodes or (namespace != "" and namespace in self.namespaces)


def stays_in_group(service: Service) -> bool:
    """Whether only its own group may call it."""
    return service.metadata.annotations.get(TOPOLOGY) == IN_GROUP


def is_exported(service: Service) -> bool:
    """Whether other groups see it and may call it."""
    annotations = service.metadata.annotations
    return annotations.get(EXPORT) == EXPORTED and not stays_in_group(service) and service.metadata.deletion_timestamp is None


def allow_from(annotations: Mapping[str, str]) -> AllowFrom | None:
    """Who may call; None when everybody may. What cannot be read lets nobody in."""
    if ALLOW_FROM not in annotations:
        return None
    words = [word.strip().partition(":") for word in annotations[ALLOW_FROM].split(",")]
    return AllowFrom(
        frozenset(name for what, _, name in words if what == _NAMESPACE and name),
        frozenset(name for what, _, name in words if what == _NODE and name),
    )


def wrong_words(annotations: Mapping[str, str]) -> list[str]:
    """The words of ALLOW_FROM that mean nothing."""
    words = [word.strip() for word in annotations.get(ALLOW_FROM, "").split(",")] if annotations.get(ALLOW_FROM) else []
    return [word for word in words if word.partition(":")[0] not in (_NAMESPACE, _NODE) or not word.partition(":")[2]]
