from contextlib import aclosing
from typing import Any

import h11
import pytest
import trio

from edged.api.logs import opening
from edged.api.status import StatusError
from edged.model.core import Container, Pod, PodSpec
from edged.model.meta import ObjectMeta

LOG = "/api/v1/namespaces/default/pods/web/log"


@pytest.fixture
async def pod(client: Any) -> None:
    body = {"metadata": {"name": "web"}, "spec": {"nodeName": "gw-b", "containers": [{"name": "c", "image": "i"}]}}
    assert (await client("POST", "/api/v1/namespaces/default/pods", body)).status == 201


async def test_all_there_is(served: Any, client: Any, pod: Any) -> None:
    reply = await client("GET", LOG)
    assert (reply.status, reply.headers["content-type"], reply.body) == (200, "text/plain", b"one\ntwo\n")
    asked, node = served.asked[0]
    assert (node, asked.namespace, asked.pod, asked.container) == ("gw-b", "default", "web", "c")
    assert (asked.follow, asked.previous, asked.timestamps, asked.tail, asked.since, asked.limit) == (
        False,
        False,
        False,
        -1,
        0,
        -1,
    )


async def test_following_ends_with_the_stream(served: Any, client: Any, pod: Any) -> None:
    response, _ = await client.begin("GET", f"{LOG}?follow=true&tailLines=2")
    assert response.status_code == 200
    with trio.fail_after(20):
        assert (await client.event()).data == b"one\n"
        assert (await client.event()).data == b"two\n"
        served.follow_ends.set()
        assert (await client.event()).data == b"last\n"
        assert isinstance(await client.event(), h11.EndOfMessage)
    assert (served.asked[0][0].follow, served.asked[0][0].tail) == (True, 2)


async def test_following_ends_with_the_client(served: Any, pod: Any) -> None:
    gone = await served.dial()
    async with aclosing(gone):
        await gone.begin("GET", f"{LOG}?follow=true")
    with trio.fail_after(20):
        await served.left.wait()


async def test_a_node_that_is_away(served: Any, client: Any, pod: Any) -> None:
    served.unreachable = "no link to gw-b"
    reply = await client("GET", LOG)
    assert (reply.status, reply.json["reason"], reply.json["message"]) == (503, "ServiceUnavailable", "no link to gw-b")


async def test_a_stream_that_breaks_off_does_not_look_whole(served: Any, client: Any, pod: Any) -> None:
    served.breaks = True
    with pytest.raises((h11.RemoteProtocolError, ConnectionError)):
        await client("GET", LOG)
    assert "an answer breaks off: the link broke" in served.logged.getvalue()


async def test_places_without_logs(client: Any) -> None:
    assert (await client("GET", LOG)).status == 404
    assert (await client("POST", LOG)).status == 405


def of_pod(*containers: Any, node: str = "gw-a") -> Any:
    spec = PodSpec(containers=tuple(Container(name=name) for name in containers), node_name=node)
    return Pod("v1", "Pod", ObjectMeta(name="web", namespace="default"), spec)


def test_options() -> None:
    asked = opening(of_pod("c"), {"previous": "1", "timestamps": "true", "sinceSeconds": "60", "limitBytes": "9"}, 1000.0)
    assert (asked.previous, asked.timestamps, asked.since, asked.limit) == (True, True, 940.0, 9)
    assert opening(of_pod("c"), {"sinceTime": "1970-01-01T00:01:00Z"}, 1000.0).since == 60.0
    assert opening(of_pod("a", "b"), {"container": "b"}, 0.0).container == "b"


@pytest.mark.parametrize(
    ("pod", "query", "said"),
    [
        (of_pod("c", node=""), {}, "pod web does not have a host assigned"),
        (of_pod("a", "b"), {}, "a container name must be specified for pod web, choose one of: [a b]"),
        (of_pod("a"), {"container": "x"}, "container x is not valid for pod web"),
        (of_pod("a"), {"tailLines": "-1"}, "tailLines"),
        (of_pod("a"), {"sinceSeconds": "0"}, "sinceSeconds"),
        (of_pod("a"), {"sinceTime": "yesterday"}, "sinceTime"),
        (of_pod("a"), {"limitBytes": "1e3"}, "limitBytes"),
    ],
)
def test_options_that_make_no_sense(pod: Any, query: Any, said: str) -> None:
    with pytest.raises(StatusError, match=r".*") as caught:
        opening(pod, query, 0.0)
    assert caught.value.code == 400
    assert said in str(caught.value)
