"""From a pod to the container that is asked of the driver: environment, arguments, limits. Pure."""

from edged.errors import Cause, InvalidError
from edged.model import quantity
from edged.model.core import Container, Pod
from edged.runtime.driver import ContainerSpec, Identity
from edged.runtime.env import Sources, environment, expand, pod_fields
from edged.runtime.pod import Run, digest


def container_spec(pod: Pod, run: Run, pod_ip: str | None, host_ip: str, sources: Sources) -> ContainerSpec:
    """The next attempt of the pod's container.

    `pod_ip` is None when it is not known yet; `sources` are of the pod's namespace.
    Raises InvalidError for a reference or a limit that cannot be resolved.
    """
    container, metadata = pod.spec.containers[0], pod.metadata
    address = host_ip if pod.spec.host_network else pod_ip
    env = environment(container.env, pod_fields(pod, address, host_ip), sources)
    memory = _limit(container, "memory")
    return ContainerSpec(
        identity=Identity(
            node=pod.spec.node_name,
            namespace=metadata.namespace,
            pod=metadata.name,
            uid=metadata.uid,
            container=container.name,
            attempt=run.attempt,
            crashes=run.crashes,
            digest=digest(container),
            grace=pod.spec.termination_grace_period_seconds,
        ),
        image=container.image,
        command=tuple(expand(text, env) for text in container.command),
        args=tuple(expand(text, env) for text in container.args),
        env=env,
        working_dir=container.working_dir,
        hostname=pod.spec.hostname or metadata.name,
        host_network=pod.spec.host_network,
        ports=container.ports,
        cpu=_limit(container, "cpu"),
        memory=None if memory is None else int(memory),
    )


def _limit(container: Container, resource: str) -> float | None:
    """A limit in cores or bytes."""
    if resource not in container.resources.limits:
        return None
    try:
        return float(quantity.parse(str(container.resources.limits[resource])))
    except InvalidError as error:
        path = f"resources.limits.{resource}"
        raise InvalidError(f"{path}: {error}", [Cause(path, "FieldValueInvalid", str(error))]) from error
