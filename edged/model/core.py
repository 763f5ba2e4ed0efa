"""The kinds of the core group, v1, with the fields that edged acts on.

Node, Namespace, Pod, Service, ConfigMap, Secret, Event.
"""

import msgspec

from edged.model.meta import Condition, Kind, Part

IntOrString = int | str


class NodeAddress(Part, frozen=True):
    """`type` is Hostname or InternalIP."""

    type: str
    address: str


class NodeSystemInfo(Part, frozen=True):
    """What runs on the machine."""

    machine_id: str = msgspec.field(name="machineID", default="")
    system_uuid: str = msgspec.field(name="systemUUID", default="")
    boot_id: str = msgspec.field(name="bootID", default="")
    kernel_version: str = ""
    os_image: str = ""
    container_runtime_version: str = ""
    kubelet_version: str = ""
    kube_proxy_version: str = ""
    operating_system: str = ""
    architecture: str = ""


class Taint(Part, frozen=True):
    """Keeps pods away that do not tolerate it."""

    key: str
    effect: str
    value: str = ""
    time_added: str | None = None


class NodeSpec(Part, frozen=True):
    """What a person wants of a node; but `pod_cidr`, the range of its pods, it says itself."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    pod_cidr: str = msgspec.field(name="podCIDR", default="")
    pod_cidrs: tuple[str, ...] = msgspec.field(name="podCIDRs", default=())


class NodeStatus(Part, frozen=True):
    """What a node says of itself. Capacities are quantities ("2", "512Mi")."""

    addresses: tuple[NodeAddress, ...] = ()
    capacity: dict[str, str] = {}
    allocatable: dict[str, str] = {}
    conditions: tuple[Condition, ...] = ()
    node_info: NodeSystemInfo = NodeSystemInfo()


class Node(Kind, frozen=True):
    """A gateway that runs edged. It writes its own Node, nobody else does."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class NamespaceStatus(Part, frozen=True):
    """`phase` is Active or Terminating."""

    phase: str = ""


class Namespace(Kind, frozen=True):
    """A scope of names."""

    status: NamespaceStatus = NamespaceStatus()


class ContainerPort(Part, frozen=True):
    """A port that a container listens on; a `host_port` also opens it on the node."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"
    host_port: int | None = None
    host_ip: str = msgspec.field(name="hostIP", default="")


class ObjectFieldSelector(Part, frozen=True):
    """A field of the pod itself, such as `status.podIP` (the downward API)."""

    field_path: str
    api_version: str = "v1"


class KeySelector(Part, frozen=True):
    """A key of a ConfigMap or a Secret."""

    key: str
    name: str = ""
    optional: bool = False


class EnvVarSource(Part, frozen=True):
    """Where an environment variable's value comes from."""

    field_ref: ObjectFieldSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvVar(Part, frozen=True):
    """An environment variable; `$(NAME)` in `value` refers to those before it."""

    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


class ResourceRequirements(Part, frozen=True):
    """Limits and requests by resource name ("cpu", "memory"), as quantities."""

    limits: dict[str, IntOrString | float] = {}
    requests: dict[str, IntOrString | float] = {}


class Container(Part, frozen=True):
    """What to run. `command` replaces the image's entrypoint, `args` its arguments; `$(VAR)` is expanded in both."""

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    image_pull_policy: str = ""


class Toleration(Part, frozen=True):
    """Lets a pod be on nodes with a taint; `toleration_seconds` after a NoExecute taint came, else for good.

    `operator` is Exists, or Equal, which is also what an empty one means.
    """

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class PodSpec(Part, frozen=True):
    """A pod's wish. `restart_policy` is Always, OnFailure or Never; times in seconds."""

    containers: tuple[Container, ...] = ()
    node_name: str = ""
    node_selector: dict[str, str] = {}
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    host_network: bool = False
    hostname: str = ""
    subdomain: str = ""
    tolerations: tuple[Toleration, ...] = ()


class ContainerStateWaiting(Part, frozen=True):
    """Not running yet, or again: ContainerCreating, ImagePullBackOff, CrashLoopBackOff."""

    reason: str = ""
    message: str = ""


class ContainerStateRunning(Part, frozen=True):
    """Running since."""

    started_at: str | None = None


class ContainerStateTerminated(Part, frozen=True):
    """Ended: `exit_code`, 128 + signal when killed; `reason` Completed, Error, OOMKilled, ContainerStatusUnknown."""

    exit_code: int
    signal: int | None = None
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    container_id: str = msgspec.field(name="containerID", default="")


class ContainerState(Part, frozen=True):
    """Exactly one of the three."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(Part, frozen=True, omit_defaults=False):
    """What became of one container. All its fields are written, as the API has them required: a count of 0 too."""

    name: str
    ready: bool = False
    started: bool = False
    restart_count: int = 0
    image: str = ""
    image_id: str = msgspec.field(name="imageID", default="")
    container_id: str = msgspec.field(name="containerID", default="")
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodIP(Part, frozen=True):
    """One address of a pod."""

    ip: str = ""


class PodStatus(Part, frozen=True):
    """`phase` is Pending, Running, Succeeded, Failed or Unknown."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    host_ip: str = msgspec.field(name="hostIP", default="")
    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: tuple[PodIP, ...] = msgspec.field(name="podIPs", default=())
    start_time: str | None = None
    container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Kind, frozen=True):
    """Containers that run together on one node."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class ServicePort(Part, frozen=True):
    """A port of a service: `port` at its address leads to `target_port` (number or name) of a pod.

    So does `node_port` at all addresses of every node; 0 when there is none.
    """

    port: int
    name: str = ""
    protocol: str = "TCP"
    target_port: IntOrString | None = None
    node_port: int = 0


class ClientIPConfig(Part, frozen=True):
    """How long a client that says nothing keeps its pod, in seconds."""

    timeout_seconds: int = 10800


class SessionAffinityConfig(Part, frozen=True):
    """Of `session_affinity`."""

    client_ip: ClientIPConfig = msgspec.field(name="clientIP", default=ClientIPConfig())


class ServiceSpec(Part, frozen=True):
    """`cluster_ip` is out of 9.251.0.0/16, given at creation; "None" makes the service headless.

    `type` is ClusterIP, NodePort or ExternalName; `session_affinity` None or ClientIP; `internal_traffic_policy` Cluster or
    Local (pods of the caller's node alone). `external_ips` are addresses at which nodes answer for the service, too.
    """

    selector: dict[str, str] = {}
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] = msgspec.field(name="clusterIPs", default=())
    type: str = "ClusterIP"
    external_name: str = ""
    external_ips: tuple[str, ...] = msgspec.field(name="externalIPs", default=())
    session_affinity: str = "None"
    session_affinity_config: SessionAffinityConfig = SessionAffinityConfig()
    internal_traffic_policy: str = "Cluster"
    publish_not_ready_addresses: bool = False


class Service(Kind, frozen=True):
    """A name and an address for a set of pods."""

    spec: ServiceSpec = ServiceSpec()


class ConfigMap(Kind, frozen=True):
    """Configuration as strings; `binary_data` is base64."""

    data: dict[str, str] = {}
    binary_data: dict[str, str] = {}


class Secret(Kind, frozen=True):
    """Configuration that few may read. `data` is base64; `string_data`, plain, is only ever sent and becomes part of `data`."""

    data: dict[str, str] = {}
    string_data: dict[str, str] = {}
    type: str = "Opaque"
    immutable: bool = False

    def __repr__(self) -> str:
        """Without what it holds: whoever logs it by mistake tells nothing."""
        return f"Secret({self.metadata.namespace}/{self.metadata.name})"


class ObjectReference(Part, frozen=True):
    """Which object an event is about."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    resource_version: str = ""
    field_path: str = ""


class EventSource(Part, frozen=True):
    """Which component on which node saw it."""

    component: str = ""
    host: str = ""


class Event(Kind, frozen=True):
    """What happened to an object; `type` is Normal or Warning."""

    involved_object: ObjectReference = ObjectReference()
    reason: str = ""
    message: str = ""
    type: str = ""
    count: int = 1
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    source: EventSource = EventSource()
    reporting_component: str = ""
    reporting_instance: str = ""
