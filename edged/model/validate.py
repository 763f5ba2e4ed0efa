"""Whether an object says something that can be done: the rules of its kind, on the struct that `schema.check` let through."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from edged.errors import Cause
from edged.model import causes, names
from edged.model.coordination import Lease
from edged.model.core import ConfigMap, Event, Node
from edged.model.failover import EFFECTS
from edged.model.kinds import Row
from edged.model.limits import MAX_CAUSES
from edged.model.meta import Kind
from edged.model.rules import devices, metadata, pods, routing, secrets, services, traffic, workloads

CONFIG_MAP_MAX = 1024 * 1024  # bytes of all keys and values of a ConfigMap, as in Kubernetes


def validate(parsed: Kind, row: Row) -> list[Cause]:
    """What is wrong with an object that is to be stored; the first MAX_CAUSES of it."""
    return list(islice(_all(parsed, row), MAX_CAUSES))


def validate_update(new: Kind, old: Kind, row: Row) -> list[Cause]:
    """What `new`, valid by itself, changes of `old` that must stay."""
    changes = _CHANGES.get(row.resource)
    return [*metadata.unchanged(new.metadata, old.metadata), *(changes(new, old) if changes is not None else ())]


def _all(parsed: Kind, row: Row) -> Iterator[Cause]:
    name_rule = _NAMES.get(row.resource, names.subdomain)
    yield from metadata.metadata(parsed.metadata, name_rule, namespaced=row.namespaced)
    if (rules := _RULES.get(row.resource)) is not None:
        yield from rules(parsed)


def _node(parsed: Node) -> Iterator[Cause]:
    seen: set[tuple[str, str]] = set()
    for at, taint in enumerate(parsed.spec.taints):
        path = f"spec.taints[{at}]"
        if wrong := names.qualified(taint.key):
            yield causes.invalid(f"{path}.key", taint.key, wrong)
        if wrong := names.label_value(taint.value):
            yield causes.invalid(f"{path}.value", taint.value, wrong)
        if taint.effect not in EFFECTS:
            yield causes.unsupported(f"{path}.effect", taint.effect, EFFECTS)
        if (taint.key, taint.effect) in seen:
            yield causes.duplicate(path, {"key": taint.key, "effect": taint.effect})
        seen.add((taint.key, taint.effect))


def _config_map(parsed: ConfigMap) -> Iterator[Cause]:
    size = 0
    for field, data in (("data", parsed.data), ("binaryData", parsed.binary_data)):
        for key, value in data.items():
            if wrong := names.config_key(key):
                yield causes.invalid(f"{field}[{key}]", key, wrong)
            # Base64 holds three bytes in four characters.
            size += len(value.encode()) if field == "data" else len(value) // 4 * 3
    for key in parsed.data.keys() & parsed.binary_data.keys():
        yield causes.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    if size > CONFIG_MAP_MAX:
        yield causes.too_long("", CONFIG_MAP_MAX)


def _event(parsed: Event) -> Iterator[Cause]:
    about = parsed.involved_object
    if about.namespace and about.namespace != parsed.metadata.namespace:
        yield causes.invalid("involvedObject.namespace", about.namespace, "does not match event.namespace")


def _lease(parsed: Lease) -> Iterator[Cause]:
    if parsed.spec.lease_transitions < 0:
        yield causes.invalid("spec.leaseTransitions", parsed.spec.lease_transitions, metadata.NOT_NEGATIVE)


# Each takes the struct of its row: the table is what ties them, which types cannot say.
_NAMES: dict[str, Callable[[str], str | None]] = {"namespaces": names.label, "services": names.label_1035}
_RULES: dict[str, Callable[[Any], Iterator[Cause]]] = {
    "nodes": _node,
    "pods": pods.pod,
    "services": services.service,
    "configmaps": _config_map,
    "secrets": secrets.secret,
    "events": _event,
    "deployments.apps": workloads.deployment,
    "leases.coordination.k8s.io": _lease,
    "destinationrules.networking.istio.io": traffic.destination_rule,
    "devicemodels.devices.kubeedge.io": devices.device_model,
    "devices.devices.kubeedge.io": devices.device,
    "rules.rules.kubeedge.io": routing.rule,
    "ruleendpoints.rules.kubeedge.io": routing.rule_endpoint,
}
_CHANGES: dict[str, Callable[[Any, Any], Iterator[Cause]]] = {
    "pods": pods.pod_changes,
    "secrets": secrets.secret_changes,
    "services": services.service_changes,
    "deployments.apps": workloads.deployment_changes,
}
