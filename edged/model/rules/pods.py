"""Rules for pods and for the pods inside of workloads (Kubernetes, `core/validation`)."""

import ipaddress
import re
from collections.abc import Iterator

from msgspec.structs import replace

from edged.errors import Cause, InvalidError
from edged.model import causes, failover, names, quantity
from edged.model.core import (
    Container,
    ContainerPort,
    EnvVar,
    EnvVarSource,
    KeySelector,
    Pod,
    PodSpec,
    ResourceRequirements,
    Toleration,
)
from edged.model.failover import Placed
from edged.model.rules.metadata import NOT_NEGATIVE, failover_rule, labels

PROTOCOLS = ("SCTP", "TCP", "UDP")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
OPERATORS = ("Equal", "Exists")
RESTART_POLICIES = ("Always", "OnFailure", "Never")
STANDARD_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})
DOWNWARD_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
PORT_RANGE = "must be between 1 and 65535, inclusive"
MUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)

_DOWNWARD_KEY = re.compile(r"metadata\.(?:labels|annotations)\['[^']+'\]")


def pod(parsed: Pod) -> Iterator[Cause]:
    """A pod."""
    yield from failover_rule(parsed.metadata, "metadata")
    yield from pod_spec(parsed.spec, "spec")


def pod_spec(spec: PodSpec, path: str) -> Iterator[Cause]:
    """A pod's spec, also in a template."""
    if not spec.containers:
        yield causes.required(f"{path}.containers")
    seen: set[str] = set()
    opened: set[str] = set()
    for at, container in enumerate(spec.containers):
        where = f"{path}.containers[{at}]"
        if container.name in seen:
            yield causes.duplicate(f"{where}.name", container.name)
        seen.add(container.name)
        yield from _container(container, where)
        yield from _host_ports(container, where, opened, host_network=spec.host_network)
    if spec.restart_policy not in RESTART_POLICIES:
        yield causes.unsupported(f"{path}.restartPolicy", spec.restart_policy, RESTART_POLICIES)
    if spec.termination_grace_period_seconds < 0:
        seconds = spec.termination_grace_period_seconds
        yield causes.invalid(f"{path}.terminationGracePeriodSeconds", seconds, NOT_NEGATIVE)
    if spec.node_name and (wrong := names.subdomain(spec.node_name)):
        yield causes.invalid(f"{path}.nodeName", spec.node_name, wrong)
    if spec.hostname and (wrong := names.label(spec.hostname)):
        yield causes.invalid(f"{path}.hostname", spec.hostname, wrong)
    yield from placement(spec, path)


def placement(spec: Placed, path: str) -> Iterator[Cause]:
    """Which nodes a pod or a device may be on."""
    yield from labels(spec.node_selector, f"{path}.nodeSelector")
    for at, toleration in enumerate(spec.tolerations):
        yield from _toleration(toleration, f"{path}.tolerations[{at}]")


def pod_changes(new: Pod, old: Pod) -> Iterator[Cause]:
    """A running pod takes new images and more tolerations, and nothing else."""
    if len(new.spec.containers) != len(old.spec.containers):
        yield causes.forbidden("spec.containers", "pod updates may not add or remove containers")
        return
    pairs = zip(new.spec.containers, old.spec.containers, strict=True)
    same_images = tuple(replace(container, image=before.image) for container, before in pairs)
    tolerations = old.spec.tolerations if _only_adds(new.spec, old.spec) else new.spec.tolerations
    if replace(new.spec, containers=same_images, tolerations=tolerations) != old.spec:
        yield causes.forbidden("spec", MUTABLE)


def _only_adds(new: PodSpec, old: PodSpec) -> bool:
    """Whether each toleration is still there; for how long may change (Kubernetes, `ValidateOnlyAddedTolerations`)."""
    timeless = {replace(each, toleration_seconds=None) for each in new.tolerations}
    return all(replace(each, toleration_seconds=None) in timeless for each in old.tolerations)


def port_number(port: int, path: str) -> Iterator[Cause]:
    """A number of a TCP or UDP port."""
    if not 1 <= port <= 65535:
        yield causes.invalid(path, port, PORT_RANGE)


def _toleration(toleration: Toleration, path: str) -> Iterator[Cause]:
    if toleration.key and (wrong := names.qualified(toleration.key)):
        yield causes.invalid(f"{path}.key", toleration.key, wrong)
    if not toleration.key and toleration.operator != "Exists":
        all_keys = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield causes.invalid(f"{path}.operator", toleration.operator, all_keys)
    if toleration.toleration_seconds is not None and toleration.effect != failover.NO_EXECUTE:
        yield causes.invalid(f"{path}.effect", toleration.effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
    match toleration.operator:
        case "" | "Equal":
            if wrong := names.label_value(toleration.value):
                yield causes.invalid(f"{path}.operator", toleration.value, wrong)
        case "Exists":
            if toleration.value:
                yield causes.invalid(f"{path}.operator", toleration.operator, "value must be empty when `operator` is 'Exists'")
        case other:
            yield causes.unsupported(f"{path}.operator", other, OPERATORS)
    if toleration.effect and toleration.effect not in failover.EFFECTS:
        yield causes.unsupported(f"{path}.effect", toleration.effect, failover.EFFECTS)


def _container(container: Container, path: str) -> Iterator[Cause]:
    if not container.name:
        yield causes.required(f"{path}.name")
    elif wrong := names.label(container.name):
        yield causes.invalid(f"{path}.name", container.name, wrong)
    if not container.image:
        yield causes.required(f"{path}.image")
    elif container.image != container.image.strip():
        yield causes.invalid(f"{path}.image", container.image, "must not have leading or trailing whitespace")
    if container.image_pull_policy and container.image_pull_policy not in PULL_POLICIES:
        yield causes.unsupported(f"{path}.imagePullPolicy", container.image_pull_policy, PULL_POLICIES)
    yield from _ports(container.ports, f"{path}.ports")
    for at, variable in enumerate(container.env):
        yield from _variable(variable, f"{path}.env[{at}]")
    yield from _resources(container.resources, f"{path}.resources")


def _ports(ports: tuple[ContainerPort, ...], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for at, port in enumerate(ports):
        where = f"{path}[{at}]"
        if port.name:
            if wrong := names.port_name(port.name):
                yield causes.invalid(f"{where}.name", port.name, wrong)
            elif port.name in seen:
                yield causes.duplicate(f"{where}.name", port.name)
            seen.add(port.name)
        yield from port_number(port.container_port, f"{where}.containerPort")
        if port.host_port:
            yield from port_number(port.host_port, f"{where}.hostPort")
        if port.protocol not in PROTOCOLS:
            yield causes.unsupported(f"{where}.protocol", port.protocol, PROTOCOLS)
        if port.host_ip:
            yield from address(port.host_ip, f"{where}.hostIP")


def address(text: str, path: str) -> Iterator[Cause]:
    """An IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        yield causes.invalid(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")


def _host_ports(container: Container, path: str, opened: set[str], *, host_network: bool) -> Iterator[Cause]:
    for at, port in enumerate(container.ports):
        where = f"{path}.ports[{at}]"
        if host_network and port.host_port != port.container_port:
            yield causes.invalid(
                f"{where}.containerPort", port.container_port, "must match `hostPort` when `hostNetwork` is true"
            )
        if not port.host_port:
            continue
        opens = f"{port.protocol}/{port.host_ip}/{port.host_port}"
        if opens in opened:
            yield causes.duplicate(f"{where}.hostPort", opens)
        opened.add(opens)


def _variable(variable: EnvVar, path: str) -> Iterator[Cause]:
    if not variable.name:
        yield causes.required(f"{path}.name")
    elif wrong := names.env_name(variable.name):
        yield causes.invalid(f"{path}.name", variable.name, wrong)
    if variable.value_from is None:
        return
    if variable.value:
        yield causes.invalid(f"{path}.valueFrom", "", "may not be specified when `value` is not empty")
    yield from _source(variable.value_from, f"{path}.valueFrom")


def _source(source: EnvVarSource, path: str) -> Iterator[Cause]:
    if sum(one is not None for one in (source.field_ref, source.config_map_key_ref, source.secret_key_ref)) > 1:
        yield causes.invalid(path, "", "may not have more than one field specified at a time")
    if source.field_ref is not None:
        field = source.field_ref.field_path
        if not field:
            yield causes.required(f"{path}.fieldRef.fieldPath")
        elif field not in DOWNWARD_FIELDS and not _DOWNWARD_KEY.fullmatch(field):
            yield causes.unsupported(f"{path}.fieldRef.fieldPath", field, DOWNWARD_FIELDS)
    if source.config_map_key_ref is not None:
        yield from _key(source.config_map_key_ref, f"{path}.configMapKeyRef")
    if source.secret_key_ref is not None:
        yield from _key(source.secret_key_ref, f"{path}.secretKeyRef")


def _key(reference: KeySelector, path: str) -> Iterator[Cause]:
    if not reference.name:
        yield causes.required(f"{path}.name")
    if not reference.key:
        yield causes.required(f"{path}.key")
    elif wrong := names.config_key(reference.key):
        yield causes.invalid(f"{path}.key", reference.key, wrong)


def _resources(resources: ResourceRequirements, path: str) -> Iterator[Cause]:
    for field, amounts in (("limits", resources.limits), ("requests", resources.requests)):
        for name, amount in amounts.items():
            yield from _amount(name, str(amount), f"{path}.{field}[{name}]")
    for name, request in resources.requests.items():
        limit = resources.limits.get(name)
        if limit is None:
            continue
        try:
            too_much = quantity.parse(str(request)) > quantity.parse(str(limit))
        except InvalidError:
            continue  # named above
        if too_much:
            yield causes.invalid(f"{path}.requests", str(request), f"must be less than or equal to {name} limit of {limit}")


def _amount(name: str, amount: str, path: str) -> Iterator[Cause]:
    if wrong := names.qualified(name):
        yield causes.invalid(path, name, wrong)
    elif "/" not in name and name not in STANDARD_RESOURCES and not name.startswith("hugepages-"):
        yield causes.invalid(path, name, "must be a standard resource for containers")
    try:
        negative = quantity.parse(amount) < 0
    except InvalidError as error:
        yield causes.invalid(path, amount, str(error))
    else:
        if negative:
            yield causes.invalid(path, amount, NOT_NEGATIVE)
