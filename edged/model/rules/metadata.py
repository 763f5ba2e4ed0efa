"""Rules for what all kinds share: names, labels, annotations, owners, label selectors (apimachinery, `api/validation`)."""

from collections.abc import Callable, Iterator, Mapping

from edged.errors import Cause
from edged.model import causes, failover, names
from edged.model.meta import LabelSelector, LabelSelectorRequirement, ObjectMeta, OwnerReference

NOT_NEGATIVE = "must be greater than or equal to 0"
IMMUTABLE = "field is immutable"

NameRule = Callable[[str], str | None]


def metadata(meta: ObjectMeta, name_rule: NameRule, *, namespaced: bool) -> Iterator[Cause]:
    """An object's own metadata."""
    if not meta.name and not meta.generate_name:
        yield causes.required("metadata.name", "name or generateName is required")
    if meta.generate_name and (wrong := name_rule(f"{meta.generate_name}a")):
        yield causes.invalid("metadata.generateName", meta.generate_name, wrong)
    if meta.name and (wrong := name_rule(meta.name)):
        yield causes.invalid("metadata.name", meta.name, wrong)
    if not namespaced and meta.namespace:
        yield causes.forbidden("metadata.namespace", "not allowed on this type")
    elif namespaced and not meta.namespace:
        yield causes.required("metadata.namespace")
    elif namespaced and (wrong := names.label(meta.namespace)):
        yield causes.invalid("metadata.namespace", meta.namespace, wrong)
    yield from tags(meta, "metadata")
    for at, owner in enumerate(meta.owner_references):
        yield from _owner(owner, f"metadata.ownerReferences[{at}]")
    if sum(owner.controller for owner in meta.owner_references) > 1:
        yield causes.invalid(
            "metadata.ownerReferences", len(meta.owner_references), "only one reference can have controller set"
        )
    for at, finalizer in enumerate(meta.finalizers):
        if wrong := names.qualified(finalizer):
            yield causes.invalid(f"metadata.finalizers[{at}]", finalizer, wrong)


def tags(meta: ObjectMeta, path: str) -> Iterator[Cause]:
    """The labels and annotations of an object or a template."""
    yield from labels(meta.labels, f"{path}.labels")
    for key in meta.annotations:
        if wrong := names.qualified(key.lower()):
            yield causes.invalid(f"{path}.annotations", key, wrong)
    if names.annotations_size(meta.annotations) > names.ANNOTATIONS_MAX:
        yield causes.too_long(f"{path}.annotations", names.ANNOTATIONS_MAX)


def failover_rule(meta: ObjectMeta, path: str) -> Iterator[Cause]:
    """The annotation that says what becomes of a pod whose node is lost."""
    rule = meta.annotations.get(failover.ANNOTATION)
    if rule is not None and rule not in failover.RULES:
        yield causes.unsupported(f"{path}.annotations[{failover.ANNOTATION}]", rule, failover.RULES)


def labels(found: Mapping[str, str], path: str) -> Iterator[Cause]:
    """Labels, or a selector that is a plain map of them."""
    for key, value in found.items():
        if wrong := names.qualified(key):
            yield causes.invalid(path, key, wrong)
        if wrong := names.label_value(value):
            yield causes.invalid(path, value, wrong)


def selector(found: LabelSelector, path: str) -> Iterator[Cause]:
    """A label selector with expressions."""
    yield from labels(found.match_labels, f"{path}.matchLabels")
    for at, requirement in enumerate(found.match_expressions):
        yield from _requirement(requirement, f"{path}.matchExpressions[{at}]")


def unchanged(new: ObjectMeta, old: ObjectMeta) -> Iterator[Cause]:
    """What makes an object this object."""
    for field, now, before in (
        ("name", new.name, old.name),
        ("namespace", new.namespace, old.namespace),
        ("uid", new.uid, old.uid),
    ):
        if now != before:
            yield causes.invalid(f"metadata.{field}", now, IMMUTABLE)


def _owner(owner: OwnerReference, path: str) -> Iterator[Cause]:
    if not owner.api_version.rpartition("/")[2]:
        yield causes.invalid(f"{path}.apiVersion", owner.api_version, "version must not be empty")
    for field, value in (("kind", owner.kind), ("name", owner.name), ("uid", owner.uid)):
        if not value:
            yield causes.invalid(f"{path}.{field}", value, "must not be empty")


def _requirement(requirement: LabelSelectorRequirement, path: str) -> Iterator[Cause]:
    match requirement.operator:
        case "In" | "NotIn":
            if not requirement.values:
                yield causes.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        case "Exists" | "DoesNotExist":
            if requirement.values:
                yield causes.forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        case other:
            yield causes.invalid(f"{path}.operator", other, "not a valid selector operator")
    if wrong := names.qualified(requirement.key):
        yield causes.invalid(f"{path}.key", requirement.key, wrong)
    for at, value in enumerate(requirement.values):
        if wrong := names.label_value(value):
            yield causes.invalid(f"{path}.values[{at}]", value, wrong)
