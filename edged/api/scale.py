"""The scale subresource (autoscaling/v1 Scale): how many pods a workload has, apart from everything else of it."""

from edged.api.status import invalid_part
from edged.model import causes
from edged.model.apps import Deployment
from edged.model.meta import JSON
from edged.model.objects import Object, typed, whole

SCALE = "scale"
MAX_REPLICAS = 2**31 - 1  # of the API's int32


def scale_of(obj: Object) -> JSON:
    """A Deployment's Scale."""
    deployment = typed(obj, Deployment)
    metadata = whole(obj)["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = deployment.spec.selector.match_labels
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": deployment.spec.replicas},
        "status": {
            "replicas": deployment.status.replicas,
            "selector": ",".join(f"{key}={value}" for key, value in sorted(selector.items())),
        },
    }


def scaled(obj: Object, scale: JSON) -> JSON:
    """The Deployment as a changed Scale wants it."""
    spec = scale.get("spec") or {}
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else None
    if isinstance(replicas, bool) or not isinstance(replicas, int) or not 0 <= replicas <= MAX_REPLICAS:
        wrong = causes.invalid("spec.replicas", replicas, f"must be a whole number from 0 to {MAX_REPLICAS}")
        raise invalid_part("Scale", "autoscaling", obj.key.name, [wrong])
    value = whole(obj)
    value["spec"]["replicas"] = replicas
    metadata = scale.get("metadata")
    if isinstance(metadata, dict):
        for name in ("resourceVersion", "uid"):
            if metadata.get(name):
                value["metadata"][name] = metadata[name]
    return value
