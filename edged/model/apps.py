"""The kinds of apps/v1 with the fields that edged acts on: Deployment."""

from edged.model.core import PodSpec
from edged.model.meta import Condition, Kind, LabelSelector, ObjectMeta, Part


class PodTemplateSpec(Part, frozen=True):
    """What each pod of a workload is made from."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()


class DeploymentSpec(Part, frozen=True):
    """`replicas` pods like `template`; `selector` must match the template's labels."""

    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    replicas: int = 1


class DeploymentStatus(Part, frozen=True):
    """How far the pods are."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class Deployment(Kind, frozen=True):
    """A number of equal pods, replaced when the template changes."""

    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()
