"""A container's environment: values, references to the pod's own fields, ConfigMaps and Secrets, and `$(NAME)` in all. Pure."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from edged.errors import Cause, InvalidError
from edged.model.core import ConfigMap, EnvVar, EnvVarSource, KeySelector, Pod, Secret

REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")  # `$$` or `$(NAME)`; any other dollar stands for itself


class Sources(NamedTuple):
    """Finds what references name, in the pod's namespace."""

    config_map: Callable[[str], ConfigMap | None]
    secret: Callable[[str], Secret | None]


def expand(text: str, values: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the value of NAME; an unknown name stays as it is written; `$$` is a dollar.

    The rules of Kubernetes (third_party/forked/golang/expansion): one pass, values are not expanded again.
    """

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else values.get(name, match.group(0))

    return REFERENCE.sub(replace, text)


def environment(variables: Sequence[EnvVar], fields: Mapping[str, str | None], sources: Sources) -> dict[str, str]:
    """The variables with their values, in order: `$(NAME)` sees those before it.

    `fields` are the pod's fields by path, None for one that is not known yet.
    Raises InvalidError for what cannot be resolved: the container waits with CreateContainerConfigError.
    """
    values: dict[str, str] = {}
    for variable in variables:
        source = variable.value_from
        value = expand(variable.value, values) if source is None else _referred(variable.name, source, fields, sources)
        if value is not None:
            values[variable.name] = value
    return values


def pod_fields(pod: Pod, pod_ip: str | None, host_ip: str) -> dict[str, str | None]:
    """What `fieldRef` may name."""
    return {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.metadata.uid,
        "spec.nodeName": pod.spec.node_name,
        "status.podIP": pod_ip,
        "status.hostIP": host_ip,
    }


def _referred(name: str, source: EnvVarSource, fields: Mapping[str, str | None], sources: Sources) -> str | None:
    if source.config_map_key_ref is not None:
        return _from_config_map(name, source.config_map_key_ref, sources)
    if source.secret_key_ref is not None:
        return _from_secret(name, source.secret_key_ref, sources)
    if source.field_ref is None:
        raise _refusal(name, "valueFrom has no source that is supported: fieldRef, configMapKeyRef, secretKeyRef")
    path = source.field_ref.field_path
    if path not in fields:
        raise _refusal(name, f"fieldRef {path} is not supported; supported are {', '.join(fields)}")
    value = fields[path]
    if value is None:
        raise _refusal(name, f"{path} is not known before the container starts on this runtime")
    return value


def _from_config_map(name: str, selector: KeySelector, sources: Sources) -> str | None:
    found = sources.config_map(selector.name)
    if found is not None and selector.key in found.data:
        return found.data[selector.key]
    if selector.optional:
        return None
    raise _absent(name, selector, "ConfigMap", there=found is not None)


def _from_secret(name: str, selector: KeySelector, sources: Sources) -> str | None:
    found = sources.secret(selector.name)
    if found is None or selector.key not in found.data:
        if selector.optional:
            return None
        raise _absent(name, selector, "Secret", there=found is not None)
    try:
        return base64.b64decode(found.data[selector.key]).decode()
    except (binascii.Error, UnicodeDecodeError):  # neither error is passed on: it quotes the value
        raise _refusal(name, f"key {selector.key} of Secret {selector.name} is no UTF-8 text") from None


def _absent(name: str, selector: KeySelector, kind: str, *, there: bool) -> InvalidError:
    if there:
        return _refusal(name, f"couldn't find key {selector.key} in {kind} {selector.name}")
    return _refusal(name, f'{kind.lower()} "{selector.name}" not found')


def _refusal(name: str, message: str) -> InvalidError:
    return InvalidError(f"env {name}: {message}", [Cause(f"env[{name}].valueFrom", "FieldValueInvalid", message)])
