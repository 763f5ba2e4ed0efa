"""With the gRPC of another make as the mapper: grpcio."""

from collections.abc import AsyncIterator, Callable, Sequence
from concurrent import futures
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
import trio

from edged.device.aio import Aio
from edged.device.dmi import server
from edged.device.dmi.messages import CLASSES
from edged.device.dmi.server import MANAGER, MAPPER, Dmi, Said
from edged.errors import InvalidError, NotFoundError, UnreachableError
from edged.kit.log import Log
from edged.model.devices import Device, DeviceModel

PATIENCE_S = 30.0


class Room:
    """What the interface serves, and what it was told."""

    def __init__(self, parts: Any) -> None:
        self.parts = parts
        self.devices: dict[str, Device] = {}
        self.model: DeviceModel = parts.model()
        self.said: list[tuple[str, str, Said]] = []
        self.states: list[tuple[str, str, str]] = []
        self.protocols: frozenset[str] = frozenset()

    def add(self, name: str, **more: Any) -> None:
        self.devices[name] = self.parts.device(name=name, **more)

    def served(self, protocol: str) -> list[tuple[Device, DeviceModel | None]]:
        return [(each, self.model) for each in self.devices.values() if protocol == "own"]

    def spoken(self, protocols: frozenset[str]) -> None:
        self.protocols = protocols

    async def take(self, namespace: str, name: str, said: Sequence[Said]) -> None:
        if name not in self.devices:
            raise NotFoundError(f"there is no Device {namespace}/{name} here")
        self.said += [(namespace, name, each) for each in said]

    async def state(self, namespace: str, name: str, state: str) -> None:
        if state == "odd":
            raise InvalidError("state: odd is none")
        self.states.append((namespace, name, state))


class MapperProcess:
    """A mapper made with grpcio: a server at its own socket and a channel to the daemon's."""

    def __init__(self, directory: Path) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.address = directory / "own.sock"
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        handlers = {
            method: grpc.unary_unary_rpc_method_handler(
                self._hear(method),
                request_deserializer=CLASSES[f"{method}Request"].FromString,
                response_serializer=CLASSES[f"{method}Response"].SerializeToString,
            )
            for method in (
                *("RegisterDevice", "UpdateDevice", "RemoveDevice"),
                *("CreateDeviceModel", "UpdateDeviceModel", "RemoveDeviceModel"),
            )
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(MAPPER.strip("/"), handlers),))
        self._server.add_insecure_port(f"unix:{self.address}")
        self._server.start()
        self._channel = grpc.insecure_channel(f"unix:{directory / 'dmi.sock'}")

    def _hear(self, method: str) -> Callable[[Any, Any], Any]:
        def handle(request: Any, _: Any) -> Any:
            self.heard.append((method, request))
            return CLASSES[f"{method}Response"]()

        return handle

    def call(self, method: str, **fields: Any) -> Any:
        stub = self._channel.unary_unary(
            MANAGER + method,
            request_serializer=CLASSES[f"{method}Request"].SerializeToString,
            response_deserializer=CLASSES[f"{method}Response"].FromString,
        )
        return stub(CLASSES[f"{method}Request"](**fields), timeout=PATIENCE_S, wait_for_ready=True)

    def register(self, withData: bool = True, **more: Any) -> Any:  # noqa: N803  KubeEdge's name
        info = {"name": "own-mapper", "protocol": "own", "address": str(self.address).encode(), **more}
        return self.call("MapperRegister", withData=withData, mapper=info)

    def stop(self) -> None:
        self._channel.close()
        self._server.stop(0).wait(PATIENCE_S)


@pytest.fixture
async def interface(parts: Any, tmp_path: Path) -> AsyncIterator[tuple[Room, Dmi, MapperProcess]]:
    room, aio = Room(parts), Aio()
    room.add("pump")
    dmi = Dmi(tmp_path / "dmi.sock", aio, room, Log())
    async with trio.open_nursery() as nursery:
        await nursery.start(dmi.run)
        mapper = await trio.to_thread.run_sync(MapperProcess, tmp_path)
        yield room, dmi, mapper
        await trio.to_thread.run_sync(mapper.stop)
        nursery.cancel_scope.cancel()
    await aio.aclose()
    assert not (tmp_path / "dmi.sock").exists()


@asynccontextmanager
async def refused(status: grpc.StatusCode, words: str) -> AsyncIterator[None]:
    with pytest.raises(grpc.RpcError) as error:
        yield
    assert error.value.code() == status  # type: ignore[attr-defined]  # grpcio's own errors have it
    assert words in error.value.details()  # type: ignore[attr-defined]


async def in_thread(call: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    return await trio.to_thread.run_sync(lambda: call(*arguments, **more))


async def test_a_mapper_registers_and_gets_its_devices(interface: Any, tmp_path: Path) -> None:
    room, dmi, mapper = interface
    assert (tmp_path / "dmi.sock").stat().st_mode & 0o777 == 0o600
    found = await in_thread(mapper.register)
    assert [(each.namespace, each.name) for each in found.deviceList] == [("default", "pump")]
    assert [each.name for each in found.modelList] == ["thermometer"]
    assert set(dmi.mappers) == {"own-mapper"}
    assert room.protocols == {"own"}
    assert not (await in_thread(mapper.register, withData=False)).deviceList
    other = await in_thread(mapper.register, protocol="another", name="b")
    assert not other.deviceList


async def test_reports_arrive_in_order(interface: Any) -> None:
    room, _, mapper = interface

    def report() -> None:
        for number in range(300):
            reported = {"value": str(number), "metadata": {"timestamp": str(1000 + number)}}
            twins = [{"propertyName": "temperature", "reported": reported}]
            mapper.call("ReportDeviceStatus", deviceName="pump", deviceNamespace="default", reportedDevice={"twins": twins})

    await in_thread(report)
    assert room.said == [("default", "pump", Said("temperature", str(n), 1000 + n)) for n in range(300)]
    await in_thread(mapper.call, "ReportDeviceStates", deviceName="pump", state="online")
    assert room.states == [("default", "pump", "online")]


async def test_what_is_wrong_is_said_and_nothing_breaks(interface: Any, tmp_path: Path) -> None:
    room, dmi, mapper = interface
    async with refused(grpc.StatusCode.NOT_FOUND, "there is no Device default/none here"):
        await in_thread(mapper.call, "ReportDeviceStatus", deviceName="none")
    async with refused(grpc.StatusCode.INVALID_ARGUMENT, "state: odd is none"):
        await in_thread(mapper.call, "ReportDeviceStates", deviceName="pump", state="odd")
    for address in (
        b"/etc/passwd",
        b"10.0.0.1:80",
        b"",
        bytes(tmp_path / "sub" / "x"),
        bytes(tmp_path / "dmi.sock"),
        b"\xff\xfe",
    ):
        async with refused(grpc.StatusCode.INVALID_ARGUMENT, f"mapper.address: expected a socket in {tmp_path}"):
            await in_thread(mapper.register, address=address)
    async with refused(grpc.StatusCode.INVALID_ARGUMENT, "mapper.protocol: expected 1 to 253 characters, got 0"):
        await in_thread(mapper.register, protocol="")
    assert dmi.mappers == {}
    assert room.protocols == frozenset()
    await in_thread(mapper.register)


async def test_a_socket_that_cannot_be_made_is_an_outage(parts: Any, tmp_path: Path) -> None:
    place = tmp_path / "dmi.sock"
    place.mkdir()
    aio = Aio()
    with pytest.RaisesGroup(pytest.RaisesExc(UnreachableError, match=r"cannot be listened at: Is a directory$")):
        await Dmi(place, aio, Room(parts), Log()).run()
    await aio.aclose()


async def test_mappers_are_bounded(interface: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, mapper = interface
    monkeypatch.setattr(server, "MAX_MAPPERS", 1)
    await in_thread(mapper.register)
    async with refused(grpc.StatusCode.INVALID_ARGUMENT, "1 mappers are registered already"):
        await in_thread(mapper.register, name="another")
    await in_thread(mapper.register)


async def test_a_mapper_is_told_what_changes(interface: Any) -> None:
    room, dmi, mapper = interface
    await in_thread(mapper.register)
    await dmi.tell()
    assert mapper.heard == []
    room.add("valve")
    room.add("pump", setpoint={"desired": {"value": "22"}})
    await dmi.tell()
    assert [(method, request.device.name) for method, request in mapper.heard] == [
        ("RegisterDevice", "valve"),
        ("UpdateDevice", "pump"),
    ]
    assert mapper.heard[1][1].device.spec.properties[0].desired.value == "22"
    mapper.heard.clear()
    room.model = msgspec.structs.replace(room.model, spec=msgspec.structs.replace(room.model.spec, properties=()))
    del room.devices["valve"]
    await dmi.tell()
    assert [method for method, _ in mapper.heard] == ["RemoveDevice", "UpdateDeviceModel"]
    mapper.heard.clear()
    room.devices.clear()
    await dmi.tell()
    assert [method for method, _ in mapper.heard] == ["RemoveDevice", "RemoveDeviceModel"]


async def test_a_mapper_without_data_is_told_everything_at_first(interface: Any) -> None:
    _, dmi, mapper = interface
    await in_thread(mapper.register, withData=False)
    await dmi.tell()
    assert [method for method, _ in mapper.heard] == ["CreateDeviceModel", "RegisterDevice"]


async def test_a_mapper_that_is_gone_is_forgotten(interface: Any) -> None:
    room, dmi, mapper = interface
    await in_thread(mapper.register)
    mapper.address.unlink()
    room.add("valve")
    await dmi.tell()
    assert dmi.mappers == {}
    assert room.protocols == frozenset()
