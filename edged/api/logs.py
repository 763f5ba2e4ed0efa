"""`GET .../pods/NAME/log`: which lines of which container on which node, out of a query and the pod."""

from collections.abc import Mapping

from edged.api.exchange import flag, number
from edged.api.status import StatusError
from edged.errors import InvalidError
from edged.model.core import Pod
from edged.model.times import parse_time
from edged.wire.peer import Logs


def opening(pod: Pod, query: Mapping[str, str], now: float) -> Logs:
    """What to ask the pod's node for. StatusError 400 when the query or the pod does not allow it."""
    name = pod.metadata.name
    if not pod.spec.node_name:
        raise StatusError(400, f"pod {name} does not have a host assigned")
    return Logs(
        namespace=pod.metadata.namespace,
        pod=name,
        container=_container(pod, query.get("container", "")),
        follow=flag(query, "follow"),
        previous=flag(query, "previous"),
        timestamps=flag(query, "timestamps"),
        tail=_number(query, "tailLines", least=0),
        since=_since(query, now),
        limit=_number(query, "limitBytes", least=1),
    )


def _container(pod: Pod, wanted: str) -> str:
    names = [container.name for container in pod.spec.containers]
    if wanted in names:
        return wanted
    if wanted:
        raise StatusError(400, f"container {wanted} is not valid for pod {pod.metadata.name}")
    if len(names) != 1:
        choices = " ".join(names)
        raise StatusError(400, f"a container name must be specified for pod {pod.metadata.name}, choose one of: [{choices}]")
    return names[0]


def _since(query: Mapping[str, str], now: float) -> float:
    """Seconds since 1970 from which on lines count; 0 for all."""
    if query.get("sinceTime"):
        try:
            return parse_time(query["sinceTime"])
        except InvalidError as error:
            raise StatusError(400, f"sinceTime: {error}") from error
    seconds = _number(query, "sinceSeconds", least=1)
    return max(0.0, now - seconds) if seconds > 0 else 0.0


def _number(query: Mapping[str, str], name: str, *, least: int) -> int:
    """A whole number out of the query; -1 when it is not there."""
    text = query.get(name, "")
    if not text:
        return -1
    value = number(text)
    if value is None or value < least:
        raise StatusError(400, f'{name}: Invalid value: "{text[:32]}": must be a number of at least {least}')
    return value
