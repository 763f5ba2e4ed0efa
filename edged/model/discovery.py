"""discovery.k8s.io/v1 with the fields that edged acts on: EndpointSlice, who answers for a service."""

import msgspec

from edged.model.core import ObjectReference
from edged.model.meta import Kind, Part

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.edged.io"
IPV4 = "IPv4"


class EndpointConditions(Part, frozen=True, omit_defaults=False):
    """Whether an endpoint takes new calls (`ready`), would answer (`serving`), and is about to go (`terminating`)."""

    ready: bool = False
    serving: bool = False
    terminating: bool = False


class SlicePort(Part, frozen=True, omit_defaults=False):
    """A port at which all endpoints of a slice answer; `name` is that of the service's port."""

    name: str = ""
    port: int = 0
    protocol: str = "TCP"


class SliceEndpoint(Part, frozen=True):
    """A pod that answers."""

    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    node_name: str = ""
    target_ref: ObjectReference | None = None


class EndpointSlice(Kind, frozen=True):
    """Endpoints of a service that have the same ports. No service may have more than one of a set of ports."""

    address_type: str = msgspec.field(default=IPV4)
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[SlicePort, ...] = ()
