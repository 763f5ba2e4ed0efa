"""The kinds of apps/v1 with the fields that edged acts on: Deployment."""

from edged.model.core import IntOrString, PodSpec
from edged.model.meta import Condition, Kind, LabelSelector, ObjectMeta, Part


class PodTemplateSpec(Part, frozen=True):
    """What each pod of a workload is made from."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()


class RollingUpdate(Part, frozen=True):
    """How many pods more (`max_surge`) or fewer (`max_unavailable`) than wanted there may be: numbers or "25%"."""

    max_surge: IntOrString = "25%"
    max_unavailable: IntOrString = "25%"


class DeploymentStrategy(Part, frozen=True):
    """How old pods are replaced: RollingUpdate, or Recreate (all old ones go first)."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate = RollingUpdate()


class DeploymentSpec(Part, frozen=True):
    """`replicas` pods like `template`; `selector` must match the template's labels."""

    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    replicas: int = 1
    strategy: DeploymentStrategy = DeploymentStrategy()


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
