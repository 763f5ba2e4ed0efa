"""Rules and RuleEndpoints into routes: what comes from where, and goes where. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from edged.model.objects import Key
from edged.model.routing import EVENTBUS, REST, Rule, RuleEndpoint


class Publish(NamedTuple):
    """To MQTT, under a topic."""

    topic: str


class Service(NamedTuple):
    """To a service of the node, on 127.0.0.1."""

    port: int
    path: str


class Url(NamedTuple):
    """To wherever a URL leads."""

    url: str


Target = Publish | Service | Url


class Route(NamedTuple):
    """One rule that can be followed. `where` is a path, topic or target URL by the kind of `source`.

    `node` is the node that hears it; "" for rest, where the caller says to which node it goes.
    """

    rule: Key
    source: str
    where: str
    node: str
    target: Target


class Table(NamedTuple):
    """The routes, and the rules that cannot be followed, with why."""

    routes: tuple[Route, ...] = ()
    problems: Mapping[Key, str] = {}


def table(rules: Iterable[tuple[Key, Rule]], endpoints: Mapping[tuple[str, str], RuleEndpoint]) -> Table:
    """The table of these rules; `endpoints` by (namespace, name)."""
    routes: list[Route] = []
    problems: dict[Key, str] = {}
    for key, rule in rules:
        try:
            source = _endpoint(endpoints, key.namespace, rule.spec.source, "source")
            target = _endpoint(endpoints, key.namespace, rule.spec.target, "target")
            where, node = _source(source, rule.spec.source_resource)
            routes.append(Route(key, source.spec.rule_endpoint_type, where, node, _target(target, rule.spec.target_resource)))
        except ValueError as error:
            problems[key] = str(error)
    return Table(tuple(routes), problems)


def rest_route(routes: Iterable[Route], namespace: str, path: str) -> tuple[Route, str] | None:
    """The route of a path under /NODE/NAMESPACE, and what the path says beyond the rule's: that of the longest path.

    `{name}` in a rule's path stands for any one part.
    """
    parts = [part for part in path.split("/") if part]
    if any(unquote(part) in (".", "..") for part in parts):  # it would lead out of where the target is
        return None
    best: tuple[int, Route] | None = None
    for route in routes:
        if route.source != REST or route.rule.namespace != namespace:
            continue
        wanted = route.where.split("/")
        fits = len(wanted) <= len(parts) and all(map(_fits, wanted, parts))
        if fits and (best is None or len(wanted) > best[0]):
            best = len(wanted), route
    return None if best is None else (best[1], "/".join(parts[best[0] :]))


def beyond(base: str, rest: str) -> str:
    """A topic or path of a target, with what the caller's path said beyond the rule's."""
    return f"{base.rstrip('/')}/{rest}" if rest else base


def _fits(wanted: str, part: str) -> bool:
    return wanted == part or (wanted.startswith("{") and wanted.endswith("}"))


def _endpoint(endpoints: Mapping[tuple[str, str], RuleEndpoint], namespace: str, name: str, field: str) -> RuleEndpoint:
    found = endpoints.get((namespace, name))
    if found is None:
        raise ValueError(f'spec.{field}: there is no RuleEndpoint "{namespace}/{name}"')
    return found


def _source(endpoint: RuleEndpoint, resource: Mapping[str, str]) -> tuple[str, str]:
    kind = endpoint.spec.rule_endpoint_type
    if kind == REST:
        path = _needed(resource, "sourceResource", "path").strip("/")
        if not path:
            raise ValueError("spec.sourceResource.path: expected a path")
        return path, ""
    where = _needed(resource, "sourceResource", "topic" if kind == EVENTBUS else "target_url")
    return where, _needed(resource, "sourceResource", "node_name")


def _target(endpoint: RuleEndpoint, resource: Mapping[str, str]) -> Target:
    match endpoint.spec.rule_endpoint_type:
        case "eventbus":
            topic = _needed(resource, "targetResource", "topic")
            if "+" in topic or "#" in topic:
                raise ValueError(f'spec.targetResource.topic: expected a topic without wildcards, got "{topic}"')
            return Publish(topic)
        case "servicebus":
            port = endpoint.spec.properties.get("service_port", "")
            if not port.isascii() or not port.isdigit():
                raise ValueError(f"RuleEndpoint {endpoint.metadata.name}: spec.properties.service_port: expected a port")
            return Service(int(port), _needed(resource, "targetResource", "path"))
    url = _needed(resource, "targetResource", "resource")
    parts = urlsplit(url)  # a ValueError says what is wrong
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.port == 0:
        raise ValueError(f'spec.targetResource.resource: expected http://host[:port]/path or https://…, got "{url}"')
    return Url(url)


def _needed(resource: Mapping[str, str], field: str, name: str) -> str:
    if not resource.get(name):
        raise ValueError(f"spec.{field}.{name}: is missing")
    return resource[name]
