"""What Kubernetes fills in where a manifest says nothing (its `defaults.go`), so that readers find what they know."""

import base64
import copy
from collections.abc import Callable
from typing import Any

from edged.model.fields import fields, is_struct
from edged.model.kinds import Row
from edged.model.meta import JSON

_PROBE: JSON = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_CONTAINER: JSON = {"resources": {}, "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
_MODE: JSON = {"defaultMode": 0o644}
_ROLLING: JSON = {"maxSurge": "25%", "maxUnavailable": "25%"}

DEFAULTS: dict[str, JSON] = {
    "PodSpec": {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
        "securityContext": {},
    },
    "Container": _CONTAINER,
    "EphemeralContainer": _CONTAINER,
    "ContainerPort": {"protocol": "TCP"},
    "ObjectFieldSelector": {"apiVersion": "v1"},
    "Probe": _PROBE,
    "HTTPGetAction": {"scheme": "HTTP", "path": "/"},
    "ConfigMapVolumeSource": _MODE,
    "SecretVolumeSource": _MODE,
    "DownwardAPIVolumeSource": _MODE,
    "ProjectedVolumeSource": _MODE,
    "Secret": {"type": "Opaque"},
    "ServiceSpec": {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    },
    "ServicePort": {"protocol": "TCP"},
    "DeploymentSpec": {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": _ROLLING},
    },
    "DeploymentStrategy": {"type": "RollingUpdate"},
    "RollingUpdateDeployment": _ROLLING,
}


def default(value: JSON, row: Row) -> JSON:
    """The object with Kubernetes' defaults in it, its apiVersion and kind too; `value` itself (checked) stays as it is."""
    return _filled({"apiVersion": row.api_version, "kind": row.kind, **value}, row.kind)


def _filled(value: JSON, of: str) -> JSON:
    types = fields(of).types
    filled = {name: _below(item, types[name]) for name, item in value.items()}
    for name, usual in DEFAULTS.get(of, {}).items():
        if filled.get(name, "") == "":  # to Kubernetes "" and absent are the same
            filled[name] = copy.deepcopy(usual)
    if (computed := _COMPUTED.get(of)) is not None:
        computed(filled)
    return filled


def _below(item: Any, of: str) -> Any:
    if of.startswith("[]") and is_struct(of[2:]):
        return [_filled(each, of[2:]) for each in item]
    return _filled(item, of) if is_struct(of) else item


def _container(value: JSON) -> None:
    if not value.get("imagePullPolicy"):
        value["imagePullPolicy"] = "Always" if _is_latest(value.get("image", "")) else "IfNotPresent"


def _is_latest(image: str) -> bool:
    if "@" in image:
        return False
    tag = image.rpartition("/")[2].partition(":")[2]
    return tag in {"", "latest"}


def _resources(value: JSON) -> None:
    if "limits" in value:
        value["requests"] = {**value["limits"], **value.get("requests", {})}


def _pod_spec(value: JSON) -> None:
    if not value.get("hostNetwork"):
        return
    for container in [*value.get("containers", ()), *value.get("initContainers", ())]:
        for port in container.get("ports", ()):
            port.setdefault("hostPort", port["containerPort"])


def _strategy(value: JSON) -> None:
    if value["type"] == "RollingUpdate":
        value.setdefault("rollingUpdate", copy.deepcopy(_ROLLING))


def _service_spec(value: JSON) -> None:
    if value["type"] == "ExternalName":
        for field in ("internalTrafficPolicy", "ipFamilies", "ipFamilyPolicy"):
            value.pop(field)
    if value["type"] == "NodePort":
        value.setdefault("externalTrafficPolicy", "Cluster")
    if value["sessionAffinity"] == "ClientIP":
        value.setdefault("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 10800}})
    if value.get("clusterIP"):
        value.setdefault("clusterIPs", [value["clusterIP"]])
    elif value.get("clusterIPs"):
        value["clusterIP"] = value["clusterIPs"][0]


def _secret(value: JSON) -> None:
    """What was sent plain becomes data, and is stored as nothing else."""
    plain = value.pop("stringData", {})
    if plain:
        coded = {key: base64.b64encode(text.encode()).decode("ascii") for key, text in plain.items()}
        value["data"] = {**value.get("data", {}), **coded}


def _service_port(value: JSON) -> None:
    if value.get("targetPort", "") in {"", 0}:
        value["targetPort"] = value["port"]


_COMPUTED: dict[str, Callable[[JSON], None]] = {
    "Container": _container,
    "ResourceRequirements": _resources,
    "PodSpec": _pod_spec,
    "DeploymentStrategy": _strategy,
    "Secret": _secret,
    "ServiceSpec": _service_spec,
    "ServicePort": _service_port,
}
