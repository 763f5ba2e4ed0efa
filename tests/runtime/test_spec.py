import pytest

from edged.errors import InvalidError
from edged.model.core import (
    Container,
    ContainerPort,
    EnvVar,
    EnvVarSource,
    ObjectFieldSelector,
    Pod,
    PodSpec,
    ResourceRequirements,
)
from edged.model.meta import ObjectMeta
from edged.runtime.driver import ContainerSpec
from edged.runtime.env import Sources
from edged.runtime.pod import Run, digest
from edged.runtime.spec import container_spec

ADDRESS = EnvVar("IP", value_from=EnvVarSource(ObjectFieldSelector("status.podIP")))


NOTHING = Sources(lambda _: None, lambda _: None)


def made(
    container: Container, *, pod_ip: str | None = "127.64.0.9", host_network: bool = False, hostname: str = ""
) -> ContainerSpec:
    spec = PodSpec(
        containers=(container,),
        node_name="gw-a",
        host_network=host_network,
        hostname=hostname,
        termination_grace_period_seconds=9,
    )
    metadata = ObjectMeta(name="web", namespace="shop", uid="u1")
    return container_spec(
        Pod(api_version="v1", kind="Pod", metadata=metadata, spec=spec), Run(3, 2), pod_ip, "192.0.2.7", NOTHING
    )


def test_everything_arrives() -> None:
    container = Container(
        "c",
        image="nginx",
        command=("run", "$(IP)"),
        args=("$(IP)", "$$x"),
        working_dir="/srv",
        env=(ADDRESS, EnvVar("URL", "http://$(IP)/")),
        ports=(ContainerPort(80, host_port=8080),),
        resources=ResourceRequirements(limits={"memory": "64Mi", "cpu": "250m"}, requests={"memory": "1Gi"}),
    )
    spec = made(container)
    identity = spec.identity
    assert (identity.node, identity.namespace, identity.pod, identity.uid, identity.container) == (
        "gw-a",
        "shop",
        "web",
        "u1",
        "c",
    )
    assert (identity.attempt, identity.crashes, identity.digest, identity.grace) == (3, 2, digest(container), 9)
    assert spec.env == {"IP": "127.64.0.9", "URL": "http://127.64.0.9/"}
    assert (spec.command, spec.args) == (("run", "127.64.0.9"), ("127.64.0.9", "$x"))
    assert (spec.image, spec.working_dir, spec.ports, spec.hostname) == ("nginx", "/srv", container.ports, "web")
    assert (spec.memory, spec.cpu) == (64 << 20, 0.25)


def test_without_limits() -> None:
    spec = made(Container("c"), hostname="other")
    assert (spec.memory, spec.cpu, spec.hostname) == (None, None, "other")


def test_the_network_of_the_host_has_its_address() -> None:
    assert made(Container("c", env=(ADDRESS,)), pod_ip=None, host_network=True).env == {"IP": "192.0.2.7"}


def test_limits_may_be_numbers() -> None:
    container = Container("c", resources=ResourceRequirements(limits={"memory": 8388608, "cpu": 1.5}))
    assert (made(container).memory, made(container).cpu) == (8388608, 1.5)


def test_a_limit_that_is_none() -> None:
    with pytest.raises(InvalidError, match=r"resources\.limits\.memory: quantities must match"):
        made(Container("c", resources=ResourceRequirements(limits={"memory": "much"})))
