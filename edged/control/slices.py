"""Who answers for each Service, as EndpointSlices: for kubectl and other tools; the mesh reads Pods itself. Pure.

A slice has the endpoints of a service that resolve its ports to the same numbers, as in Kubernetes. It is written when one
of them comes, goes or changes its readiness, and the rest of a round bounds how often that is.
"""

import hashlib
import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable

import msgspec

from edged.control.pods import ENDED
from edged.model.core import ObjectReference, Pod, Service
from edged.model.discovery import (
    IPV4,
    MANAGED_LABEL,
    MANAGER,
    SERVICE_LABEL,
    EndpointConditions,
    EndpointSlice,
    SliceEndpoint,
    SlicePort,
)
from edged.model.endpoints import chosen, is_address, is_ready, target
from edged.model.kinds import BY_STRUCT
from edged.model.meta import JSON, ObjectMeta, OwnerReference
from edged.model.objects import Key, Object, dump, split, typed, whole
from edged.model.times import format_time
from edged.store.writes import Create, Delete, Put, Write

MAX_ENDPOINTS = 1000  # of a slice, as in Kubernetes; under 500 kB. A service of more pods shows the first, by name
_ROW = BY_STRUCT[EndpointSlice]
RESOURCE = _ROW.resource
Ports = tuple[SlicePort, ...]


def reconcile(
    services: Iterable[Object],
    slices: Iterable[Object],
    pods: Iterable[Pod],
    silent: Collection[str],
    last_uid: Callable[[Key], str | None],
    now: float,
) -> list[Write]:
    """The writes after which each service with a selector has its slices. `silent` are nodes that nobody sees."""
    local: dict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        local[pod.metadata.namespace].append(pod)
    there = {obj.key: obj for obj in slices}
    writes: list[Write] = []
    for obj in services:
        service = typed(obj, Service)
        if not service.spec.selector or service.metadata.deletion_timestamp is not None:
            continue
        for ports, endpoints in _sliced(service, local[obj.key.namespace], silent).items():
            wanted = _slice(service, obj.uid, ports, tuple(endpoints[:MAX_ENDPOINTS]))
            key = Key(RESOURCE, obj.key.namespace, wanted.metadata.name)
            writes += _written(wanted, key, there.pop(key, None), last_uid, now)
    return writes + [Delete(obj.key, uid=obj.uid) for obj in there.values()]


def _sliced(service: Service, pods: Iterable[Pod], silent: Collection[str]) -> dict[Ports, list[SliceEndpoint]]:
    """Endpoints by the ports that they have. A service without any has one empty slice."""
    found: dict[Ports, list[SliceEndpoint]] = defaultdict(list)
    for pod in sorted(chosen(service, pods), key=lambda pod: pod.metadata.name):
        if pod.spec.node_name and is_address(pod.status.pod_ip) and pod.status.phase not in ENDED:
            numbers = ((port, target(port, pod)) for port in service.spec.ports)
            ports = tuple(SlicePort(port.name, number, port.protocol) for port, number in numbers if number)
            found[ports].append(_endpoint(service, pod, silent))
    return found or {(): []}


def _endpoint(service: Service, pod: Pod, silent: Collection[str]) -> SliceEndpoint:
    serving = is_ready(pod) and pod.spec.node_name not in silent
    terminating = pod.metadata.deletion_timestamp is not None
    ready = service.spec.publish_not_ready_addresses or (serving and not terminating)
    about = ObjectReference(kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid)
    return SliceEndpoint((pod.status.pod_ip,), EndpointConditions(ready, serving, terminating), pod.spec.node_name, about)


def _slice(service: Service, uid: str, ports: Ports, endpoints: tuple[SliceEndpoint, ...]) -> EndpointSlice:
    digest = hashlib.sha256(dump([uid, [msgspec.structs.astuple(port) for port in ports]])).hexdigest()
    owner = OwnerReference("v1", "Service", service.metadata.name, uid, controller=True, block_owner_deletion=True)
    metadata = ObjectMeta(
        name=f"{service.metadata.name}-{digest[:5]}",
        namespace=service.metadata.namespace,
        labels={SERVICE_LABEL: service.metadata.name, MANAGED_LABEL: MANAGER},
        owner_references=(owner,),
    )
    return EndpointSlice(_ROW.api_version, _ROW.kind, metadata, IPV4, endpoints, ports)


def _written(
    wanted: EndpointSlice, key: Key, there: Object | None, last_uid: Callable[[Key], str | None], now: float
) -> list[Write]:
    """The writes after which a slice is as it should be: none when it is."""
    parts: JSON = {"addressType": IPV4, "endpoints": [], "ports": [], **json.loads(dump(wanted))}
    metadata = parts.pop("metadata")
    if there is None:
        uid = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{wanted.metadata.owner_references[0].uid}/{key.name}/{last_uid(key) or ''}"))
        made = {**metadata, "uid": uid, "creationTimestamp": format_time(now)}
        return [Create(key, uid, dump({**parts, "metadata": made}), None)]
    value = whole(there)
    changed = {**value, **parts, "metadata": {**value["metadata"], **metadata}}
    return [] if changed == value else [Put(key, split(changed)[0], rv=there.rv)]
