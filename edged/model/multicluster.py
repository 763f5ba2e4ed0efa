"""multicluster.x-k8s.io/v1alpha1 with the fields that edged acts on: ServiceImport, a service of another group.

A Service that carries EXPORT appears in every group as one ServiceImport, with where it answers and nothing else of its
group. KEP-1645 (the Multi-Cluster Services API) keeps endpoints in EndpointSlices; here they are in the status.
"""

from edged.model.meta import Kind, Part

EXPORT = "edged.io/export"  # annotation of a Service: "true" shows it to the other groups
EXPORTED = "true"
SERVICE_LABEL = "multicluster.kubernetes.io/service-name"
GROUP_LABEL = "multicluster.kubernetes.io/source-cluster"
CLUSTER_SET_IP, WITHOUT_IP = "ClusterSetIP", "Headless"


class ImportedPort(Part, frozen=True, omit_defaults=False):
    """A port of the service. All fields of an import are written: its readers need not know edged's defaults."""

    port: int
    name: str = ""
    protocol: str = "TCP"


class ServiceImportSpec(Part, frozen=True, omit_defaults=False):
    """`type` is ClusterSetIP or Headless."""

    ports: tuple[ImportedPort, ...] = ()
    type: str = CLUSTER_SET_IP


class ClusterStatus(Part, frozen=True):
    """A group that exports the service."""

    cluster: str


class ImportedTarget(Part, frozen=True):
    """The port of a pod to which a port of the service leads."""

    port: int
    target_port: int


class ImportedEndpoint(Part, frozen=True, omit_defaults=False):
    """A pod that is to answer, by name, and its node; whether it is `ready` to."""

    node: str
    pod: str
    ready: bool = False
    ports: tuple[ImportedTarget, ...] = ()


class ServiceImportStatus(Part, frozen=True):
    """Where the service comes from, and who answers."""

    clusters: tuple[ClusterStatus, ...] = ()
    endpoints: tuple[ImportedEndpoint, ...] = ()


class ServiceImport(Kind, frozen=True):
    """A service of a group, as all groups see it: named SERVICE.GROUP in the service's namespace."""

    spec: ServiceImportSpec = ServiceImportSpec()
    status: ServiceImportStatus = ServiceImportStatus()


def import_name(service: str, group: str) -> str:
    """What the import of a service is called. Neither name has a dot in it."""
    return f"{service}.{group}"


def group_of(name: str) -> str:
    """The group whose service an import of this name is."""
    return name.rpartition(".")[2]
