import functools
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from edged.device.bus import client
from edged.device.bus.client import Broker, Publish, connected
from edged.device.bus.session import MAX_UNREAD
from edged.errors import DeniedError, UnreachableError
from edged.kit.address import Address
from tests.device.broker import Mosquitto, in_time

pytestmark = pytest.mark.tool("mosquitto")


def at(broker: Mosquitto, **more: Any) -> Broker:
    return Broker(Address("127.0.0.1", broker.port), **more)


@in_time
async def test_what_one_says_another_hears(mosquitto: Mosquitto) -> None:
    async with connected(at(mosquitto), "one") as one, connected(at(mosquitto), "two") as two:
        assert await two.subscribe(["heard/#"]) == []
        sent = [Publish(f"heard/{number % 3}", str(number).encode()) for number in range(300)]
        heard = []
        await one.publish_all(sent)
        while len(heard) < len(sent):
            heard += await two.receive()
        assert [(each.topic, each.payload) for each in heard] == [(each.topic, each.payload) for each in sent]
        await one.publish("heard/once", b"", qos=0)
        assert [each.topic for each in await two.receive()] == ["heard/once"]
        two.unsubscribe(["heard/#"])


@in_time
async def test_many_may_publish_at_a_time(mosquitto: Mosquitto) -> None:
    async with connected(at(mosquitto), "one") as one, connected(at(mosquitto), "two") as two:
        await two.subscribe(["many/#"])
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(one.publish, "many/x", str(number).encode())
        heard: list[bytes] = []
        while len(heard) < 200:
            heard += [each.payload for each in await two.receive()]
        assert sorted(heard) == sorted(str(number).encode() for number in range(200))


@in_time
async def test_a_topic_that_cannot_be_published_to_harms_nobody(mosquitto: Mosquitto) -> None:
    async with connected(at(mosquitto), "one") as one:
        for _ in range(client.MAX_INFLIGHT + 1):
            with pytest.raises(ValueError, match="wildcards"):
                await one.publish("a/#", b"")
        await one.publish("a", b"")


@in_time
async def test_what_comes_while_away_is_kept_when_asked_for(mosquitto: Mosquitto) -> None:
    async with connected(at(mosquitto), "keeps", listens=True) as one:
        await one.subscribe(["kept"])
    async with connected(at(mosquitto), "other") as other:
        await other.publish("kept", b"1")
    async with connected(at(mosquitto), "keeps", listens=True) as one:
        assert [each.payload for each in await one.receive()] == [b"1"]
    async with connected(at(mosquitto), "keeps"):
        pass  # a clean session ends what is kept


@pytest.mark.tool("mosquitto_pub")
@in_time
async def test_a_burst_is_kept_for_a_listener_that_is_held_up(mosquitto: Mosquitto) -> None:
    count = MAX_UNREAD + 500
    async with connected(at(mosquitto), "held-up", listens=True) as one:
        await one.subscribe(["burst"])
        argv = ["mosquitto_pub", "-p", str(mosquitto.port), "-t", "burst", "-q", "1", "-l"]
        lines = "".join(f"{number}\n" for number in range(count))
        subprocess.run(argv, input=lines.encode(), check=True)
        heard: list[int] = []
        while len(heard) < count:
            heard += [int(each.payload) for each in await one.receive()]
        assert heard == list(range(count))


@in_time
async def test_nobody_is_there() -> None:
    with pytest.raises(UnreachableError, match=r"the MQTT broker at 127.0.0.1:1 cannot be reached: .*refused"):
        async with connected(Broker(Address("127.0.0.1", 1)), "one"):
            raise AssertionError


@in_time
async def test_a_broker_that_goes_is_noticed_by_everybody_who_waits(own_mosquitto: Callable[..., Mosquitto]) -> None:
    broker = own_mosquitto()
    told = []

    async def waits(wait: Callable[[], Any]) -> None:
        with pytest.raises(UnreachableError, match="is away"):
            await wait()
        told.append(1)

    async with connected(at(broker), "one") as one, trio.open_nursery() as nursery:
        broker.hang()
        nursery.start_soon(waits, one.receive)
        for _ in range(3):
            nursery.start_soon(waits, functools.partial(one.publish_all, [Publish("a", b"")] * client.MAX_INFLIGHT))
        nursery.start_soon(waits, functools.partial(one.subscribe, ["a"]))
        await trio.testing.wait_all_tasks_blocked(0.05)
        broker.stop()
    assert len(told) == 5


@in_time
async def test_a_broker_that_hangs_is_given_up(own_mosquitto: Callable[..., Mosquitto], monkeypatch: Any) -> None:
    monkeypatch.setattr(client, "ACK_S", 0.1)
    monkeypatch.setattr(client, "WATCH_S", 0.05)
    broker = own_mosquitto()
    async with connected(at(broker), "one") as one:
        broker.hang()
        with pytest.raises(UnreachableError, match=r"acknowledges nothing for 0.1 s"):
            await one.publish("a", b"")
        broker.go_on()


@asynccontextmanager
async def talker(says: bytes) -> AsyncIterator[Broker]:
    async def talk(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(says)
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(functools.partial(trio.serve_tcp, talk, 0, host="127.0.0.1"))
        yield Broker(Address("127.0.0.1", listeners[0].socket.getsockname()[1]))
        nursery.cancel_scope.cancel()


@in_time
async def test_who_says_nothing_or_nonsense_is_no_broker(monkeypatch: Any) -> None:
    async with talker(b"\0\2ab") as broker:
        with pytest.raises(UnreachableError, match="sends what is no MQTT"):
            async with connected(broker, "one"):
                raise AssertionError
    monkeypatch.setattr(client, "CONNECT_S", 0.1)
    async with talker(b"") as broker:
        with pytest.raises(UnreachableError, match=r"says nothing for 0.1 s"):
            async with connected(broker, "one"):
                raise AssertionError


@in_time
async def test_user_and_password(own_mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), "anna", "secret"], check=True, capture_output=True)
    broker = own_mosquitto("allow_anonymous false", f"password_file {passwords}")
    async with connected(at(broker, user="anna", password="secret"), "one") as one:  # noqa: S106  a made-up one
        await one.publish("a", b"")
    with pytest.raises(DeniedError, match=r"refuses us: Not authorized"):
        async with connected(at(broker), "one"):
            raise AssertionError


@in_time
async def test_tls(own_mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    argv += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(argv, check=True, capture_output=True)
    broker = own_mosquitto("allow_anonymous true", f"certfile {certificate}", f"keyfile {key}")
    async with connected(at(broker, tls=ssl.create_default_context(cafile=str(certificate))), "one") as one:
        await one.publish("a", b"")
    with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        async with connected(at(broker, tls=ssl.create_default_context()), "one"):
            raise AssertionError
