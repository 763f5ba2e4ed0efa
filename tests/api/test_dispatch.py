from typing import Any, Never

import pytest

from edged.api.dispatch import Dispatch


@pytest.mark.parametrize(
    ("method", "target", "code"),
    [
        ("GET", "/api/v1/endpoints", 404),
        ("GET", "/apis/apps/v2/deployments", 404),
        ("GET", "/apis//v1/pods", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("GET", "/api/v1/pods/web", 404),
        ("GET", "/api/v1/namespaces/default/pods/a/exec", 404),
        ("GET", "/api/v1/namespaces/default/pods/a/log/more", 404),
        ("GET", "/api/v1/namespaces//pods", 404),
        ("POST", "/apis/batch/v1/namespaces/default/jobs", 404),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", 404),
        ("POST", "/apis/apps/v1", 405),
        ("GET", "/nothing", 404),
        ("GET", "//", 404),
        ("POST", "/api/v1/pods", 405),
        ("PUT", "/api/v1/namespaces/default/pods", 405),
        ("POST", "/api/v1/namespaces/default/pods/a", 405),
        ("BREW", "/api/v1/namespaces/default/pods/a", 405),
        ("POST", "/version", 405),
    ],
)
async def test_places_and_methods_that_are_not_there(client: Any, method: str, target: str, code: int) -> None:
    reply = await client(method, target)
    assert (reply.status, reply.json["kind"]) == (code, "Status")


async def test_a_limited_node_is_read_and_not_written(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = Dispatch._resource

    def limited(self: Any, *arguments: Any) -> Any:
        self._me = self._me._replace(limited=True)
        return resource(self, *arguments)

    monkeypatch.setattr(Dispatch, "_resource", limited)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    for method, target in (("POST", ""), ("PUT", "/a"), ("PATCH", "/a"), ("DELETE", "/a"), ("DELETE", "")):
        reply = await client(method, f"/api/v1/namespaces/default/configmaps{target}", body)
        assert (reply.status, reply.json["reason"]) == (403, "Forbidden")
        assert "node gw-a is limited, it writes for itself alone: ask another node of group site" in reply.json["message"]
    assert (await client("GET", "/api/v1/namespaces/default/configmaps")).status == 200


async def test_a_bug_is_a_500_and_a_line_in_the_log(served: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Never:
        raise ZeroDivisionError("of the test")

    monkeypatch.setattr("edged.api.dispatch.version", broken)
    reply = await client("GET", "/version")
    assert (reply.status, reply.json["reason"]) == (500, "InternalError")
    assert "ZeroDivisionError: of the test at " in served.logged.getvalue()
    served.logged.truncate(0)
    assert (await client("GET", "/healthz")).status == 200


async def test_what_the_node_says_of_itself_and_finds_of_its_network(client: Any) -> None:
    assert (await client("GET", "/edged/v1/status")).json == {"node": "gw-a"}
    assert (await client("GET", "/edged/v1/netcheck")).json == {"nat": "easy"}
    assert (await client("POST", "/edged/v1/netcheck")).status == 405
    assert (await client("GET", "/edged/v1/ping/gw-b")).json == {"node": "gw-b"}
    assert (await client("GET", "/edged/v1/ping/yard/gw-b")).json == {"node": "yard/gw-b"}
