from typing import Any

import msgspec

from edged.model.apps import Deployment
from edged.model.meta import LabelSelector


def test_a_deployment(deployment: dict[str, Any]) -> None:
    spec = msgspec.convert(deployment, Deployment).spec
    assert spec.replicas == 2
    assert spec.selector == LabelSelector({"app": "web"})
    assert spec.template.metadata.labels == {"app": "web"}
    assert spec.template.spec.containers[0].image == "nginx:1.27"
    assert (spec.strategy.type, spec.strategy.rolling_update.max_surge) == ("RollingUpdate", "25%")


def test_one_replica_unless_more_are_asked_for() -> None:
    assert msgspec.convert({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {}}, Deployment).spec.replicas == 1
