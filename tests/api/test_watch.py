from contextlib import aclosing
from typing import Any

import pytest
import trio

from edged.api import watch as watching
from edged.model.objects import Key
from edged.store import window
from edged.store.writes import Delete, Put

MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
MERGE = {"content-type": "application/merge-patch+json"}


class Watch:
    """The events of a watch, asked for one by one."""

    def __init__(self, client: Any) -> None:
        self.client, self.events = client, client.lines()

    async def next(self) -> Any:
        with trio.fail_after(20):
            return await anext(self.events)

    async def brief(self) -> Any:
        event = await self.next()
        return event["type"], event["object"]["metadata"].get("name")

    async def ended(self) -> None:
        with trio.fail_after(20), pytest.raises(StopAsyncIteration):
            await anext(self.events)

    async def aclose(self) -> None:
        await self.events.aclose()
        await self.client.aclose()


@pytest.fixture
async def follow(served: Any) -> Any:
    opened = []

    async def follow(target: str, headers: Any = None) -> Any:
        opened.append(Watch(await served.dial_tls()))
        response, _ = await opened[-1].client.begin("GET", target, None, headers)
        assert response.status_code == 200
        return opened[-1]

    yield follow
    for each in opened:
        await each.aclose()


async def config(client: Any, name: str, **labels: Any) -> Any:
    reply = await client("POST", MAPS, {"metadata": {"name": name, "labels": labels}})
    assert reply.status == 201
    return reply.json["metadata"]["resourceVersion"]


async def test_from_a_version_on(client: Any, follow: Any) -> None:
    await config(client, "a")
    since = await config(client, "b")
    await config(client, "c")
    watch = await follow(f"{MAPS}?watch=1&resourceVersion={since}")
    assert await watch.brief() == ("ADDED", "c")
    await client("PATCH", f"{MAPS}/a", {"data": {"x": "y"}}, MERGE)
    event = await watch.next()
    assert (event["type"], event["object"]["data"]) == ("MODIFIED", {"x": "y"})
    await client("DELETE", f"{MAPS}/b")
    event = await watch.next()
    assert (event["type"], event["object"]["metadata"]["name"]) == ("DELETED", "b")
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(since)


@pytest.mark.parametrize("version", ["", "0"])
async def test_from_what_is_there(client: Any, follow: Any, version: str) -> None:
    await config(client, "a")
    watch = await follow(f"{MAPS}?watch=true&resourceVersion={version}")
    assert await watch.brief() == ("ADDED", "a")
    await config(client, "b")
    assert await watch.brief() == ("ADDED", "b")


async def test_of_one_namespace_and_kind(served: Any, client: Any, follow: Any) -> None:
    await client("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    watch, everywhere = await follow(f"{MAPS}?watch=1"), await follow("/api/v1/configmaps?watch=1")
    await client("POST", "/api/v1/namespaces/other/configmaps", {"metadata": {"name": "x"}})
    await config(client, "a")
    assert await watch.brief() == ("ADDED", "a")
    assert [await everywhere.brief(), await everywhere.brief()] == [("ADDED", "x"), ("ADDED", "a")]


async def test_what_stops_and_starts_to_match(client: Any, follow: Any) -> None:
    await config(client, "a", tier="front")
    since = await config(client, "b", tier="back")
    watch = await follow(f"{MAPS}?watch=1&labelSelector=tier%3Dfront&resourceVersion={since}")
    named = await follow(f"{MAPS}?watch=1&fieldSelector=metadata.name%3Db&resourceVersion={since}")
    for name, tier in (("a", "back"), ("b", "front")):
        await client("PATCH", f"{MAPS}/{name}", {"metadata": {"labels": {"tier": tier}}}, MERGE)
    assert [await watch.brief(), await watch.brief()] == [("DELETED", "a"), ("ADDED", "b")]
    await client("DELETE", f"{MAPS}/a")
    await client("DELETE", f"{MAPS}/b")
    assert await watch.brief() == ("DELETED", "b")
    assert [await named.brief(), await named.brief()] == [("MODIFIED", "b"), ("DELETED", "b")]


async def test_what_stopped_to_match_before_the_watch_began(client: Any, follow: Any) -> None:
    """The client listed at `since`; what left its selection in between must still be told to it."""
    since = await config(client, "a", tier="front")
    await client("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"tier": "back"}}}, MERGE)
    await config(client, "b", tier="back")
    await config(client, "c", tier="front")
    watch = await follow(f"{MAPS}?watch=1&labelSelector=tier%3Dfront&resourceVersion={since}")
    assert [await watch.brief(), await watch.brief()] == [("DELETED", "a"), ("ADDED", "c")]


async def test_a_version_that_is_forgotten(served: Any, client: Any, follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "MAX_CHANGES", 4)
    since = await config(client, "a")
    for name in "bcdefg":
        await config(client, name)
    watch = await follow(f"{MAPS}?watch=1&resourceVersion={since}")
    event = await watch.next()
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    await watch.ended()
    ahead = await follow(f"{MAPS}?watch=1&resourceVersion=99999")
    assert (await ahead.next())["object"]["code"] == 410


async def test_tables_name_their_columns_once(client: Any, follow: Any) -> None:
    await config(client, "a")
    watch = await follow(f"{MAPS}?watch=1", TABLE)
    first = (await watch.next())["object"]
    assert (first["kind"], [column["name"] for column in first["columnDefinitions"]]) == ("Table", ["Name", "Data", "Age"])
    await config(client, "b")
    second = (await watch.next())["object"]
    assert (second["columnDefinitions"], second["rows"][0]["cells"][0]) == ([], "b")


async def test_bookmarks(served: Any, client: Any, follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_S", 0.05)
    since = await config(client, "a")
    watch = await follow(f"{MAPS}?watch=1&allowWatchBookmarks=true&resourceVersion={since}")
    event = await watch.next()
    assert (event["type"], event["object"]["kind"]) == ("BOOKMARK", "ConfigMap")
    assert event["object"]["metadata"]["resourceVersion"] == since
    quiet = await follow(f"{MAPS}?watch=1&resourceVersion={since}")
    await trio.sleep(0.2)
    await config(client, "b")
    assert await quiet.brief() == ("ADDED", "b")


async def test_initial_events(client: Any, follow: Any) -> None:
    await config(client, "a")
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    watch = await follow(f"{MAPS}?{query}&resourceVersion=1")
    assert await watch.brief() == ("ADDED", "a")
    mark = await watch.next()
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_timeout(client: Any, follow: Any) -> None:
    watch = await follow(f"{MAPS}?watch=1&timeoutSeconds=1")
    await watch.ended()
    assert (await watch.client("GET", "/healthz")).status == 200


async def test_a_watch_ends_with_its_client(served: Any, client: Any) -> None:
    """A hundred clients come and go: none of their watches stays behind."""
    for _ in range(100):
        gone = await served.dial()
        async with aclosing(gone):
            await gone.begin("GET", f"{MAPS}?watch=1")
    await served.watched(0)


async def test_writes_past_the_api_are_seen(served: Any, client: Any, follow: Any) -> None:
    await config(client, "a")
    watch = await follow(f"{MAPS}?watch=1")
    assert await watch.brief() == ("ADDED", "a")
    key = Key("configmaps", "default", "a")
    body = served.store.get(key).body.replace(b'"labels":{}', b'"labels":{"x":"y"}')
    await served.store.write(Put(key, body))
    await served.store.write(Delete(key))
    assert [await watch.brief(), await watch.brief()] == [("MODIFIED", "a"), ("DELETED", "a")]
