"""What other groups see of a Service that is exported: a ServiceImport with its ports and who answers them. Pure.

Nothing else of the group goes abroad: of a pod its name, its node, whether it is ready and the ports of the service.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable

import msgspec

from edged.model.closure import is_exported
from edged.model.core import Pod, Service
from edged.model.endpoints import chosen, is_ready, target
from edged.model.kinds import BY_STRUCT
from edged.model.meta import JSON
from edged.model.multicluster import (
    CLUSTER_SET_IP,
    GROUP_LABEL,
    SERVICE_LABEL,
    WITHOUT_IP,
    ClusterStatus,
    ImportedEndpoint,
    ImportedPort,
    ImportedTarget,
    ServiceImport,
    ServiceImportSpec,
    ServiceImportStatus,
    group_of,
    import_name,
)
from edged.model.objects import Key, Object, dump, split, typed, whole
from edged.model.rules.services import HEADLESS
from edged.model.times import format_time
from edged.store.writes import Create, Delete, Put, PutStatus, Write

MAX_ENDPOINTS = 128  # of a service: with a hundred ports under 1 MB, and as many as calls from abroad need to choose from
ENDED = ("Succeeded", "Failed")
_ROW = BY_STRUCT[ServiceImport]
WATCHED = (BY_STRUCT[Service].resource, _ROW.resource)


def reconcile(
    services: Iterable[Object],
    imports: Iterable[Object],
    pods: Iterable[Pod],
    group: str,
    silent: Collection[str],
    last_uid: Callable[[Key], str | None],
    now: float,
) -> list[Write]:
    """The writes that show abroad what `group` exports, and no more of it. `silent` are nodes that nobody sees.

    `imports` may be those of all groups. `last_uid` gives the uid of the last object of a key: as with pods, two nodes that
    know the same history make the same object.
    """
    exported = [service for obj in services if is_exported(service := typed(obj, Service))]
    there = {obj.key: obj for obj in imports if not of_others(obj.key, group)}
    writes: list[Write] = []
    local: dict[str, list[Pod]] = defaultdict(list)
    if exported:
        for pod in pods:
            local[pod.metadata.namespace].append(pod)
    for service in exported:
        key = Key(_ROW.resource, service.metadata.namespace, import_name(service.metadata.name, group))
        status = _status(service, local[key.namespace], group, silent)
        writes += _show(service, key, there.pop(key, None), status, group, last_uid, now)
    return writes + [Delete(obj.key, uid=obj.uid) for obj in there.values()]


def of_others(key: Key, group: str) -> bool:
    """Whether it is the import of a service of another group: a fleet has many, and they change often."""
    return key.resource == _ROW.resource and group_of(key.name) != group


def _show(
    service: Service,
    key: Key,
    there: Object | None,
    status: ServiceImportStatus,
    group: str,
    last_uid: Callable[[Key], str | None],
    now: float,
) -> list[Write]:
    """The writes after which an import is as it should be."""
    labels = {SERVICE_LABEL: service.metadata.name, GROUP_LABEL: group}
    spec: JSON = msgspec.to_builtins(_spec(service), str_keys=True)
    if there is None:
        uid = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{service.metadata.uid}/{key.name}/{last_uid(key) or ''}"))
        metadata = {"name": key.name, "namespace": key.namespace, "uid": uid, "creationTimestamp": format_time(now)}
        body = {"apiVersion": _ROW.api_version, "kind": _ROW.kind, "metadata": {**metadata, "labels": labels}, "spec": spec}
        return [Create(key, uid, dump(body), dump(status))]
    writes: list[Write] = []
    said = typed(there, ServiceImport)
    if said.metadata.labels != labels or said.spec != _spec(service):
        value = whole(there)
        value["metadata"]["labels"], value["spec"] = labels, spec
        writes.append(Put(key, split(value)[0], rv=there.rv))
    if said.status != status:
        writes.append(PutStatus(key, dump(status), uid=there.uid))
    return writes


def _spec(service: Service) -> ServiceImportSpec:
    ports = tuple(ImportedPort(port.port, port.name, port.protocol) for port in service.spec.ports)
    return ServiceImportSpec(ports, WITHOUT_IP if service.spec.cluster_ip == HEADLESS else CLUSTER_SET_IP)


def _status(service: Service, pods: Iterable[Pod], group: str, silent: Collection[str]) -> ServiceImportStatus:
    endpoints = [_endpoint(service, pod, silent) for pod in chosen(service, pods) if _may_answer(pod)]
    endpoints.sort(key=lambda endpoint: (not endpoint.ready, endpoint.pod))
    return ServiceImportStatus((ClusterStatus(group),), tuple(endpoints[:MAX_ENDPOINTS]))


def _may_answer(pod: Pod) -> bool:
    return bool(pod.spec.node_name) and pod.metadata.deletion_timestamp is None and pod.status.phase not in ENDED


def _endpoint(service: Service, pod: Pod, silent: Collection[str]) -> ImportedEndpoint:
    targets = ((port.port, target(port, pod)) for port in service.spec.ports)
    ports = tuple(ImportedTarget(port, number) for port, number in targets if number is not None)
    ready = is_ready(pod) and pod.spec.node_name not in silent
    return ImportedEndpoint(pod.spec.node_name, pod.metadata.name, ready, ports)
