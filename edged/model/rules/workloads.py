"""Rules for workloads: Deployment (Kubernetes, `apps/validation`)."""

import re
from collections.abc import Iterator

import msgspec

from edged.errors import Cause
from edged.model import causes, selectors
from edged.model.apps import Deployment, DeploymentSpec, RollingUpdate
from edged.model.core import IntOrString
from edged.model.limits import MAX_REPLICAS
from edged.model.meta import LabelSelector
from edged.model.rules.metadata import IMMUTABLE, NOT_NEGATIVE, failover_rule, selector, tags
from edged.model.rules.pods import pod_spec

STRATEGIES = ("Recreate", "RollingUpdate")
_PERCENT = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)


def deployment(parsed: Deployment) -> Iterator[Cause]:
    """A deployment."""
    spec = parsed.spec
    yield from failover_rule(parsed.metadata, "metadata")
    if spec.replicas < 0:
        yield causes.invalid("spec.replicas", spec.replicas, NOT_NEGATIVE)
    if spec.replicas > MAX_REPLICAS:
        yield causes.invalid("spec.replicas", spec.replicas, f"must be less than or equal to {MAX_REPLICAS}")
    wrong = [*selector(spec.selector, "spec.selector"), *tags(spec.template.metadata, "spec.template.metadata")]
    yield from wrong
    yield from failover_rule(spec.template.metadata, "spec.template.metadata")
    if not wrong:
        yield from _selects_its_own(spec)
    yield from pod_spec(spec.template.spec, "spec.template.spec")
    if spec.template.spec.restart_policy in {"OnFailure", "Never"}:
        yield causes.unsupported("spec.template.spec.restartPolicy", spec.template.spec.restart_policy, ["Always"])
    if spec.strategy.type not in STRATEGIES:
        yield causes.unsupported("spec.strategy.type", spec.strategy.type, STRATEGIES)
    elif spec.strategy.type == "RollingUpdate":
        yield from _rolling(spec.strategy.rolling_update, "spec.strategy.rollingUpdate")


def deployment_changes(new: Deployment, old: Deployment) -> Iterator[Cause]:
    """The selector says which pods are its own, for good."""
    if new.spec.selector != old.spec.selector:
        yield causes.invalid("spec.selector", msgspec.to_builtins(new.spec.selector), IMMUTABLE)


def _selects_its_own(spec: DeploymentSpec) -> Iterator[Cause]:
    if spec.selector == LabelSelector():
        yield causes.invalid("spec.selector", {}, "empty selector is invalid for deployment")
    elif not selectors.of_struct(spec.selector).matches(spec.template.metadata.labels):
        found = spec.template.metadata.labels
        yield causes.invalid("spec.template.metadata.labels", found, "`selector` does not match template `labels`")


def _rolling(rolling: RollingUpdate, path: str) -> Iterator[Cause]:
    for field, value in (("maxUnavailable", rolling.max_unavailable), ("maxSurge", rolling.max_surge)):
        if isinstance(value, int) and value < 0:
            yield causes.invalid(f"{path}.{field}", value, NOT_NEGATIVE)
        if isinstance(value, str) and not re.fullmatch("[0-9]{1,9}%", value):
            yield causes.invalid(f"{path}.{field}", value, _PERCENT)
    if _is_zero(rolling.max_unavailable) and _is_zero(rolling.max_surge):
        yield causes.invalid(f"{path}.maxUnavailable", rolling.max_unavailable, "may not be 0 when `maxSurge` is 0")
    unavailable = rolling.max_unavailable
    if isinstance(unavailable, str) and re.fullmatch("[0-9]{1,9}%", unavailable) and int(unavailable[:-1]) > 100:
        yield causes.invalid(f"{path}.maxUnavailable", unavailable, "must not be greater than 100%")


def _is_zero(value: IntOrString) -> bool:
    return value == 0 or (isinstance(value, str) and re.fullmatch("0+%", value) is not None)
