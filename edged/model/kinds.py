"""The table of kinds: everything that is true of a kind as such stands in its row, and nowhere else."""

from typing import NamedTuple

from edged.model import apps, coordination, core, devices, discovery, istio, multicluster, routing
from edged.model.meta import Kind


class Row(NamedTuple):
    """One kind. `resource` is its GroupResource string (`deployments.apps`), the first part of every key.

    `scope` says who holds its objects: `fleet` every node, `group` the nodes of one group (DESIGN.md, Replication).
    `status` says that it has a status subresource, a register of its own. `acts` is the struct of the fields that
    edged acts on. Objects that are `made` are edged's own: people read and delete them, and write none.
    `also` are other versions of the same fields under which they are read and written. A kind that `shows` another resource
    is a view of it: nothing is stored of it, it is read only.
    """

    group: str
    version: str
    kind: str
    plural: str
    acts: type[Kind]
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    status: bool = True
    scope: str = "group"
    made: bool = False
    also: tuple[str, ...] = ()
    shows: str = ""

    @property
    def resource(self) -> str:
        """`plural` or `plural.group`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """`v1` or `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        """The kind in lower case."""
        return self.kind.lower()


DEVICES = "devices.kubeedge.io"

KINDS = (
    Row("", "v1", "Node", "nodes", core.Node, ("no",), namespaced=False),
    Row("", "v1", "Namespace", "namespaces", core.Namespace, ("ns",), namespaced=False),
    Row("", "v1", "Pod", "pods", core.Pod, ("po",), ("all",)),
    Row("", "v1", "Service", "services", core.Service, ("svc",), ("all",)),
    Row("", "v1", "ConfigMap", "configmaps", core.ConfigMap, ("cm",), status=False),
    Row("", "v1", "Secret", "secrets", core.Secret, status=False),
    Row("", "v1", "Event", "events", core.Event, ("ev",), status=False),
    Row("apps", "v1", "Deployment", "deployments", apps.Deployment, ("deploy",), ("all",)),
    Row("coordination.k8s.io", "v1", "Lease", "leases", coordination.Lease, status=False),
    Row("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", discovery.EndpointSlice, status=False, made=True),
    Row(DEVICES, "v1beta1", "DeviceModel", "devicemodels", devices.DeviceModel, status=False, scope="fleet"),
    Row(DEVICES, "v1beta1", "Device", "devices", devices.Device),
    Row(
        *(DEVICES, "v1beta1", "DeviceStatus", "devicestatuses", devices.ShownDeviceStatus),
        made=True,
        shows=f"devices.{DEVICES}",
    ),
    Row(
        *("multicluster.x-k8s.io", "v1alpha1", "ServiceImport", "serviceimports", multicluster.ServiceImport, ("svcim",)),
        scope="fleet",
        made=True,
    ),
    Row(
        *("networking.istio.io", "v1beta1", "DestinationRule", "destinationrules", istio.DestinationRule, ("dr",)),
        status=False,
        also=("v1alpha3",),
    ),
    Row("rules.kubeedge.io", "v1", "Rule", "rules", routing.Rule),
    Row("rules.kubeedge.io", "v1", "RuleEndpoint", "ruleendpoints", routing.RuleEndpoint, ("re",), status=False),
)

# Each row in each of its versions: what clients see.
SPOKEN = (*KINDS, *(row._replace(version=version, also=()) for row in KINDS for version in row.also))

BY_RESOURCE = {row.resource: row for row in KINDS}
BY_KIND = {(row.api_version, row.kind): row for row in SPOKEN}
BY_STRUCT: dict[type[Kind], Row] = {row.acts: row for row in KINDS}
