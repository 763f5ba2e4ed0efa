from typing import Any

import msgspec
import pytest

from edged.device.rules.table import Publish, Service, Table, Url, beyond, rest_route, table
from edged.model.objects import Key
from edged.model.routing import Rule, RuleEndpoint

HEAD = {"apiVersion": "rules.kubeedge.io/v1", "kind": ""}
ENDS = {
    "web": {"ruleEndpointType": "rest"},
    "mqtt": {"ruleEndpointType": "eventbus"},
    "local": {"ruleEndpointType": "servicebus", "properties": {"service_port": "6666"}},
    "portless": {"ruleEndpointType": "servicebus"},
}
ENDPOINTS = {
    ("default", name): msgspec.convert({**HEAD, "metadata": {"name": name}, "spec": spec}, RuleEndpoint)
    for name, spec in ENDS.items()
}
HEARD = {"topic": "a/#", "node_name": "gw-a"}


def made(*rules: tuple[str, dict[str, str], str, dict[str, str]]) -> Table:
    found = []
    for number, (source, source_resource, target, target_resource) in enumerate(rules):
        spec = {"source": source, "sourceResource": source_resource, "target": target, "targetResource": target_resource}
        rule = msgspec.convert({**HEAD, "metadata": {"name": str(number)}, "spec": spec}, Rule)
        found.append((Key("rules", "default", str(number)), rule))
    return table(found, ENDPOINTS)


@pytest.mark.parametrize(
    ("source", "resource", "where", "node"),
    [
        ("web", {"path": "/a/b/"}, "a/b", ""),
        ("mqtt", HEARD, "a/#", "gw-a"),
        ("local", {"target_url": "http://x/a", "node_name": "gw-a"}, "http://x/a", "gw-a"),
    ],
)
def test_sources(source: str, resource: dict[str, str], where: str, node: str) -> None:
    (route,) = made((source, resource, "mqtt", {"topic": "t"})).routes
    assert (route.where, route.node, route.target) == (where, node, Publish("t"))


def test_targets() -> None:
    found = made(("mqtt", HEARD, "local", {"path": "/p"}), ("mqtt", HEARD, "web", {"resource": "https://h:1/p"}))
    assert [route.target for route in found.routes] == [Service(6666, "/p"), Url("https://h:1/p")]


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (("nobody", {}, "mqtt", {}), 'spec.source: there is no RuleEndpoint "default/nobody"'),
        (("web", {}, "mqtt", {"topic": "t"}), "spec.sourceResource.path: is missing"),
        (("web", {"path": "/"}, "mqtt", {"topic": "t"}), "spec.sourceResource.path: expected a path"),
        (("mqtt", {"topic": "t"}, "mqtt", {"topic": "t"}), "spec.sourceResource.node_name: is missing"),
        (("mqtt", HEARD, "mqtt", {"topic": "a/#"}), "expected a topic without wildcards"),
        (("mqtt", HEARD, "portless", {"path": "p"}), "service_port: expected a port"),
        (("mqtt", HEARD, "web", {"resource": "file:///etc/passwd"}), "expected http://"),
        (("mqtt", HEARD, "web", {"resource": "http://[::1"}), "Invalid IPv6 URL"),
        (("mqtt", HEARD, "web", {"resource": "http://h:99999/"}), "Port out of range"),
    ],
)
def test_rules_that_cannot_be_followed_say_why(rule: Any, says: str) -> None:
    found = made(rule)
    assert found.routes == ()
    assert says in next(iter(found.problems.values()))


def test_the_longest_path_is_followed_and_the_rest_appended() -> None:
    to = ("mqtt", {"topic": "t"})
    routes = made(("web", {"path": "a"}, *to), ("web", {"path": "a/{x}/c"}, *to), ("mqtt", HEARD, *to)).routes
    for path, expected in (
        ("a", ("0", "")),
        ("/a/b", ("0", "b")),
        ("a/b/c", ("1", "")),
        ("a/b/c/d//e/", ("1", "d/e")),
        ("b", None),
        ("", None),
        ("a/../b", None),
        ("a/%2e%2E/b", None),
    ):
        found = rest_route(routes, "default", path)
        assert (None if found is None else (found[0].rule.name, found[1])) == expected, path
    assert rest_route(routes, "other", "a") is None


def test_what_is_appended() -> None:
    assert (beyond("a/", "b"), beyond("a/", ""), beyond("a", "b/c")) == ("a/b", "a/", "a/b/c")
