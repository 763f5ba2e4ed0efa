"""A real Redis gets KubeEdge's sorted sets, and a repeat changes nothing."""

import json
from collections.abc import Iterator

import pytest
import redis

from edged.device.push.parcels import Credentials, Target
from edged.device.push.redis import RedisSender, member
from edged.errors import DeniedError, InvalidError, UnreachableError
from tests.device.push.conftest import Server, free_port, parcel

pytestmark = pytest.mark.tool("redis-server")
SESAME = Credentials(password="sesame")  # noqa: S106  of the test's own server


@pytest.fixture
def client(redis_server: Server) -> Iterator["redis.Redis"]:
    with redis.Redis(port=redis_server.port, password="sesame", db=3) as made:  # noqa: S106
        made.flushdb()
        yield made


def sender(port: int, credentials: Credentials = SESAME) -> RedisSender:
    return RedisSender(Target("redis", f"127.0.0.1:{port}", ("3",)), credentials, "gw-a")


async def test_readings_are_members_scored_by_time(redis_server: Server, client: "redis.Redis") -> None:
    made = sender(redis_server.port)
    some = [parcel(number, device="pump" if number % 2 else "meter") for number in range(10)]
    for _ in range(2):  # a repeat
        assert await made.send(some) == 0
    await made.aclose()
    found = client.zrange("meter", 0, -1, withscores=True)
    assert [json.loads(text)["Value"] for text, _ in found] == ["0.5", "2.5", "4.5", "6.5", "8.5"]
    assert json.loads(found[1][0]) == {
        "DeviceName": "meter",
        "PropertyName": "power",
        "Namespace": "default",
        "Value": "2.5",
        "Type": "float",
        "TimeStamp": 1_700_000_000_002,
        "Node": "gw-a",
        "Id": 2,
    }
    assert found[1][1] == 1_700_000_000_002
    assert client.zcard("pump") == 5


async def test_what_is_no_sorted_set_is_refused(redis_server: Server, client: "redis.Redis") -> None:
    client.set("meter", "text")
    made = sender(redis_server.port)
    with pytest.raises(InvalidError, match="WRONGTYPE"):
        await made.send([parcel(1)])
    await made.aclose()


@pytest.mark.parametrize("credentials", [Credentials(), Credentials(password="wrong")])  # noqa: S106
async def test_a_wrong_password_is_said(redis_server: Server, credentials: Credentials) -> None:
    made = sender(redis_server.port, credentials)
    with pytest.raises(DeniedError, match=r"invalid|Authentication"):
        await made.send([parcel(1)])
    await made.aclose()


async def test_nobody_there_is_unreachable() -> None:
    made = sender(free_port())
    with pytest.raises(UnreachableError, match="refused"):
        await made.send([parcel(1)])
    await made.aclose()


def test_a_member_is_the_same_each_time() -> None:
    one = parcel(1)
    assert member(one, one.readings[0], "gw-a") == member(one, one.readings[0], "gw-a")
