"""One row of a Table a kind: the columns that kubectl prints and what stands in them (as Kubernetes' own printers)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from edged.api.ages import age, seconds_since
from edged.model.apps import Deployment
from edged.model.coordination import Lease
from edged.model.core import ConfigMap, ContainerStatus, Event, Namespace, Node, Pod, PodSpec, Secret, Service
from edged.model.devices import Device, DeviceModel, DeviceStatus, ShownDeviceStatus
from edged.model.discovery import EndpointSlice
from edged.model.istio import DestinationRule
from edged.model.meta import Kind, LabelSelector
from edged.model.multicluster import ServiceImport
from edged.model.routing import Rule, RuleEndpoint
from edged.model.rules.services import EXTERNAL_NAME

NONE = "<none>"
UNKNOWN = "<unknown>"
UNSET = "<unset>"
MOST = 3  # ports or addresses of a slice that are shown
ROLE = "node-role.kubernetes.io/"
Cells = list[Any]


class Column(NamedTuple):
    """A column; one that is `wide` shows with `-o wide` only."""

    name: str
    wide: bool = False
    type: str = "string"
    format: str = ""


class Print(NamedTuple):
    """How a kind is printed: its columns after NAME and the function from object and wall clock to their cells."""

    columns: Sequence[Column]
    cells: Callable[[Any, float], Cells]
    name_first: bool = True


def _age(parsed: Kind, now: float) -> str:
    return age(parsed.metadata.creation_timestamp, now)


def _labels(labels: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or NONE


def _selector(selector: LabelSelector) -> str:
    parts = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    for need in selector.match_expressions:
        values = f" ({','.join(need.values)})" if need.values else ""
        text = {"Exists": need.key, "DoesNotExist": f"!{need.key}"}
        parts.append(text.get(need.operator, f"{need.key} {need.operator.lower()}{values}"))
    return ",".join(parts) or NONE


def _pod(pod: Pod, now: float) -> Cells:
    statuses = pod.status.container_statuses
    ready = sum(status.ready for status in statuses)
    total = max(len(pod.spec.containers), len(statuses))
    address = pod.status.pod_ip or NONE
    node = pod.spec.node_name or NONE
    return [f"{ready}/{total}", _pod_state(pod), _restarts(statuses, now), _age(pod, now), address, node, NONE, NONE]


def _pod_state(pod: Pod) -> str:
    """The one word for what a pod does: what holds its last container up, else its phase."""
    state = pod.status.reason or pod.status.phase or "Pending"
    running = False
    for container in reversed(pod.status.container_statuses):
        waiting, ended = container.state.waiting, container.state.terminated
        if waiting is not None and waiting.reason:
            state = waiting.reason
        elif ended is not None:
            killed = f"Signal:{ended.signal}" if ended.signal else f"ExitCode:{ended.exit_code}"
            state = ended.reason or killed
        elif container.ready and container.state.running is not None:
            running = True
    if state == "Completed" and running:
        state = "Running"
    if pod.metadata.deletion_timestamp is not None:
        return "Terminating"
    return state


def _restarts(statuses: Sequence[ContainerStatus], now: float) -> str:
    count = sum(status.restart_count for status in statuses)
    ends = [status.last_state.terminated.finished_at for status in statuses if status.last_state.terminated is not None]
    latest = max((end for end in ends if end), default=None)
    return f"{count} ({age(latest, now)} ago)" if count and latest else str(count)


def _node(node: Node, now: float) -> Cells:
    ready = [condition.status for condition in node.status.conditions if condition.type == "Ready"]
    state = {"True": "Ready", "False": "NotReady"}.get(ready[0], "NotReady") if ready else "Unknown"
    if node.spec.unschedulable:
        state += ",SchedulingDisabled"
    labels = node.metadata.labels
    roles = sorted(key.removeprefix(ROLE) for key in labels if key.startswith(ROLE))
    info = node.status.node_info
    addresses = {address.type: address.address for address in reversed(node.status.addresses)}
    return [
        state,
        ",".join(roles) or NONE,
        _age(node, now),
        info.kubelet_version or UNKNOWN,
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.os_image or UNKNOWN,
        info.kernel_version or UNKNOWN,
        info.container_runtime_version or UNKNOWN,
    ]


def _namespace(namespace: Namespace, now: float) -> Cells:
    return [namespace.status.phase or "Active", _age(namespace, now)]


def _service(service: Service, now: float) -> Cells:
    spec = service.spec
    ports = ",".join(f"{port.port}{f':{port.node_port}' if port.node_port else ''}/{port.protocol}" for port in spec.ports)
    outside = spec.external_name if spec.type == EXTERNAL_NAME else ",".join(spec.external_ips)
    return [spec.type, spec.cluster_ip or NONE, outside or NONE, ports or NONE, _age(service, now), _labels(spec.selector)]


def _endpoint_slice(found: EndpointSlice, now: float) -> Cells:
    ports = _some([str(port.port) for port in found.ports])
    addresses = _some([address for endpoint in found.endpoints for address in endpoint.addresses])
    return [found.address_type, ports, addresses, _age(found, now)]


def _some(texts: Sequence[str]) -> str:
    """The first of many, as kubectl's own printer has them."""
    more = f" + {len(texts) - MOST} more..." if len(texts) > MOST else ""
    return (",".join(texts[:MOST]) + more) or UNSET


def _service_import(imported: ServiceImport, now: float) -> Cells:
    ports = ",".join(f"{port.port}/{port.protocol}" for port in imported.spec.ports)
    endpoints = imported.status.endpoints
    ready = f"{sum(endpoint.ready for endpoint in endpoints)}/{len(endpoints)}"
    nodes = ",".join(sorted({endpoint.node for endpoint in endpoints}))
    groups = ",".join(cluster.cluster for cluster in imported.status.clusters)
    return [imported.spec.type, groups or NONE, ports or NONE, ready, _age(imported, now), nodes or NONE]


def _destination_rule(rule: DestinationRule, now: float) -> Cells:
    return [rule.spec.host or NONE, _age(rule, now)]


def _config_map(config: ConfigMap, now: float) -> Cells:
    return [len(config.data) + len(config.binary_data), _age(config, now)]


def _secret(secret: Secret, now: float) -> Cells:
    return [secret.type, len(secret.data), _age(secret, now)]


def _event(event: Event, now: float) -> Cells:
    about, source = event.involved_object, event.source
    component = event.reporting_component or source.component
    last = event.last_timestamp or event.first_timestamp or event.metadata.creation_timestamp
    return [
        age(last, now),
        event.type,
        event.reason,
        f"{about.kind.lower()}/{about.name}",
        about.field_path,
        ", ".join(part for part in (component, event.reporting_instance or source.host) if part),
        event.message.strip(),
        age(event.first_timestamp or last, now),
        event.count,
        event.metadata.name,
    ]


def _deployment(deployment: Deployment, now: float) -> Cells:
    status = deployment.status
    names, images = _containers(deployment.spec.template.spec)
    return [
        f"{status.ready_replicas}/{deployment.spec.replicas}",
        status.updated_replicas,
        status.available_replicas,
        _age(deployment, now),
        names,
        images,
        _selector(deployment.spec.selector),
    ]


def _containers(spec: PodSpec) -> tuple[str, str]:
    return ",".join(c.name for c in spec.containers), ",".join(c.image for c in spec.containers)


def _rule(rule: Rule, now: float) -> Cells:
    spec, status = rule.spec, rule.status
    age = _age(rule, now)
    return [spec.source, spec.target, status.success_messages, status.fail_messages, age, "; ".join(status.errors[-1:])]


def _rule_endpoint(endpoint: RuleEndpoint, now: float) -> Cells:
    return [endpoint.spec.rule_endpoint_type, _age(endpoint, now)]


def _device_model(model: DeviceModel, now: float) -> Cells:
    return [model.spec.protocol or NONE, len(model.spec.properties), _age(model, now)]


def _device(device: Device, now: float) -> Cells:
    state, values, seen = _twins(device.status, now)
    spec = device.spec
    model, node, protocol = (text or NONE for text in (spec.device_model_ref.name, spec.node_name, spec.protocol.protocol_name))
    return [model, node, state, values, _age(device, now), protocol, seen]


def _device_status(shown: ShownDeviceStatus, now: float) -> Cells:
    return [*_twins(shown.status, now), _age(shown, now)]


def _twins(status: DeviceStatus, now: float) -> tuple[str, str, str]:
    """Its state, its values, and when it was seen last."""
    values = ",".join(f"{twin.property_name}={twin.reported.value}" for twin in status.twins)
    seen = seconds_since(status.last_online_time, now)
    return status.state or "unknown", values or NONE, NONE if seen is None else f"{age(status.last_online_time, now)} ago"


def _lease(lease: Lease, now: float) -> Cells:
    return [lease.spec.holder_identity, _age(lease, now)]


_AGE = Column("Age")
PRINTS: dict[type[Kind], Print] = {
    Pod: Print(
        [
            Column("Ready"),
            Column("Status"),
            Column("Restarts"),
            _AGE,
            Column("IP", wide=True),
            Column("Node", wide=True),
            Column("Nominated Node", wide=True),
            Column("Readiness Gates", wide=True),
        ],
        _pod,
    ),
    Node: Print(
        [
            Column("Status"),
            Column("Roles"),
            _AGE,
            Column("Version"),
            Column("Internal-IP", wide=True),
            Column("External-IP", wide=True),
            Column("OS-Image", wide=True),
            Column("Kernel-Version", wide=True),
            Column("Container-Runtime", wide=True),
        ],
        _node,
    ),
    Namespace: Print([Column("Status"), _AGE], _namespace),
    Service: Print(
        [
            Column("Type"),
            Column("Cluster-IP"),
            Column("External-IP"),
            Column("Port(s)"),
            _AGE,
            Column("Selector", wide=True),
        ],
        _service,
    ),
    DestinationRule: Print([Column("Host"), _AGE], _destination_rule),
    ConfigMap: Print([Column("Data", type="integer"), _AGE], _config_map),
    Secret: Print([Column("Type"), Column("Data", type="integer"), _AGE], _secret),
    Event: Print(
        [
            Column("Last Seen"),
            Column("Type"),
            Column("Reason"),
            Column("Object"),
            Column("Subobject", wide=True),
            Column("Source", wide=True),
            Column("Message"),
            Column("First Seen", wide=True),
            Column("Count", wide=True, type="integer"),
            Column("Name", wide=True, format="name"),
        ],
        _event,
        name_first=False,
    ),
    Deployment: Print(
        [
            Column("Ready"),
            Column("Up-to-date", type="integer"),
            Column("Available", type="integer"),
            _AGE,
            Column("Containers", wide=True),
            Column("Images", wide=True),
            Column("Selector", wide=True),
        ],
        _deployment,
    ),
    Lease: Print([Column("Holder"), _AGE], _lease),
    EndpointSlice: Print([Column("AddressType"), Column("Ports"), Column("Endpoints"), _AGE], _endpoint_slice),
    ServiceImport: Print(
        [
            Column("Type"),
            Column("Group"),
            Column("Port(s)"),
            Column("Ready"),
            _AGE,
            Column("Nodes", wide=True),
        ],
        _service_import,
    ),
    Rule: Print(
        [
            Column("Source"),
            Column("Target"),
            Column("Succeeded", type="integer"),
            Column("Failed", type="integer"),
            _AGE,
            Column("Last Error", wide=True),
        ],
        _rule,
    ),
    RuleEndpoint: Print([Column("Type"), _AGE], _rule_endpoint),
    DeviceModel: Print([Column("Protocol"), Column("Properties", type="integer"), _AGE], _device_model),
    Device: Print(
        [
            Column("Model"),
            Column("Node"),
            Column("State"),
            Column("Values"),
            _AGE,
            Column("Protocol", wide=True),
            Column("Last Online", wide=True),
        ],
        _device,
    ),
    ShownDeviceStatus: Print([Column("State"), Column("Values"), Column("Last Online"), _AGE], _device_status),
}
