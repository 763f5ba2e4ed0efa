"""The daemon's side of the Device Mapper Interface: a gRPC server on a Unix socket, and the mappers that registered. A shell.

gRPC is spoken on the asyncio loop (`edged.device.aio`). What a mapper asks crosses to trio in batches, is answered there in
its order, and the answers cross back together: so a thousand reports a second cost a few crossings.
"""

import asyncio
import os
from collections.abc import Awaitable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import trio
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.server import Server, Stream

from edged.device.aio import Aio, Batches
from edged.device.dmi import speech
from edged.device.dmi.messages import CLASSES, PACKAGE
from edged.device.dmi.speech import Said
from edged.errors import EdgedError, InvalidError, NotFoundError, UnreachableError
from edged.kit.log import Log
from edged.model.devices import Device, DeviceModel

MANAGER = f"/{PACKAGE}.DeviceManagerService/"
MAPPER = f"/{PACKAGE}.DeviceMapperService/"
MAX_MAPPERS = 64  # that are registered; one more is refused
MAX_NAME = 253  # characters of a mapper's name and protocol
CALL_S = 5.0  # for a mapper to answer
WAITING = 10_000  # asks that wait for trio: ten seconds of 1,000 a second; more ends the server's task, and it is started anew
DEFAULT_NAMESPACE = "default"


class Room(Protocol):
    """What the interface stands for: the devices of this node."""

    def served(self, protocol: str) -> Sequence[tuple[Device, DeviceModel | None]]:
        """The devices of a protocol on this node."""

    def spoken(self, protocols: frozenset[str]) -> None:
        """These protocols, and no others, are spoken by mappers that are registered."""

    async def take(self, namespace: str, name: str, said: Sequence[Said]) -> None:
        """Values of a device. NotFoundError: there is none of the name here; InvalidError: a property or value is not its."""

    async def state(self, namespace: str, name: str, state: str) -> None:
        """A device's state in KubeEdge's words. Errors as above."""


class Mapper(NamedTuple):
    """A mapper that registered: what it speaks, and the socket on which it listens."""

    name: str
    protocol: str
    socket: str


class _Ask(NamedTuple):
    request: Any
    answer: "asyncio.Future[Any]"


class Dmi:
    """Serves mappers at `socket`. They may listen in its directory, and nowhere else: nothing else is dialled."""

    def __init__(self, socket: Path, aio: Aio, room: Room, log: Log) -> None:
        self._socket, self._aio, self._room, self._log = socket, aio, room, log
        self.mappers: dict[str, Mapper] = {}
        self._told: dict[str, dict[tuple[str, str, str], Any]] = {}  # by mapper what it was told, by kind, namespace and name

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Started when mappers can connect. UnreachableError: the socket cannot be made."""
        asks: Batches[_Ask | None] = Batches(WAITING)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._aio.run, lambda: self._serve(asks))
            _, *rest = await asks.receive()  # the first says that it listens
            task_status.started()
            while True:
                await self._answer([ask for ask in rest if ask is not None])
                rest = await asks.receive()

    async def tell(self) -> None:
        """Tell every mapper what changed of its devices and models. Called when a Device or a DeviceModel was changed."""
        for mapper in list(self.mappers.values()):
            try:
                await self._tell(mapper)
            except UnreachableError as error:
                self._log.warning(f"mapper {mapper.name}: {error}; it is to register again")
                self.mappers.pop(mapper.name, None)
                self._told.pop(mapper.name, None)
                self._speak()

    def _speak(self) -> None:
        self._room.spoken(frozenset(each.protocol for each in self.mappers.values()))

    # On trio

    async def _answer(self, asks: Sequence[_Ask]) -> None:
        answers = [await self._one(ask.request) for ask in asks]

        def pass_on() -> None:
            for ask, answer in zip(asks, answers, strict=True):
                if not ask.answer.done():  # else the mapper is gone
                    ask.answer.set_result(answer)

        self._aio.soon(pass_on)

    async def _one(self, request: Any) -> Any:
        """The answer to a request: a message, or an EdgedError."""
        try:
            if isinstance(request, CLASSES["MapperRegisterRequest"]):
                return self._register(request)
            namespace = request.deviceNamespace or DEFAULT_NAMESPACE
            if isinstance(request, CLASSES["ReportDeviceStatusRequest"]):
                await self._room.take(namespace, request.deviceName, list(speech.said(request.reportedDevice.twins)))
                return CLASSES["ReportDeviceStatusResponse"]()
            await self._room.state(namespace, request.deviceName, request.state)
            return CLASSES["ReportDeviceStatesResponse"]()
        except EdgedError as error:
            return error

    def _register(self, request: Any) -> Any:
        mapper = self._admitted(request.mapper)
        found = self._room.served(mapper.protocol)
        if mapper != self.mappers.get(mapper.name):
            self._log.info(
                f"mapper {mapper.name} speaks {mapper.protocol} at {mapper.socket}; {len(found)} devices here are its"
            )
        self.mappers[mapper.name] = mapper
        self._speak()
        self._told[mapper.name] = _known(found) if request.withData else {}
        known = _known(found, status=True)
        response = CLASSES["MapperRegisterResponse"]()
        if request.withData:
            response.modelList.extend(message for (kind, *_), message in known.items() if kind == "model")
            response.deviceList.extend(message for (kind, *_), message in known.items() if kind == "device")
        return response

    def _admitted(self, info: Any) -> Mapper:
        """InvalidError names what is wrong with the field of a MapperInfo."""
        for field in ("name", "protocol"):
            value = getattr(info, field)
            if not value or len(value) > MAX_NAME:
                raise InvalidError(f"mapper.{field}: expected 1 to {MAX_NAME} characters, got {len(value)}")
        path = Path(os.fsdecode(info.address))
        directory = self._socket.parent
        if path.parent != directory or path.name in {"", ".", "..", self._socket.name} or "\0" in str(path):
            raise InvalidError(f"mapper.address: expected a socket in {directory}, got {str(path)!r}")
        if info.name not in self.mappers and len(self.mappers) >= MAX_MAPPERS:
            raise InvalidError(f"{MAX_MAPPERS} mappers are registered already")
        return Mapper(info.name, info.protocol, str(path))

    async def _tell(self, mapper: Mapper) -> None:
        now = _known(self._room.served(mapper.protocol))
        before = self._told.get(mapper.name, {})
        gone = [key for key in before if key not in now]
        calls = [_removal(key) for key in sorted(gone)]  # a device before its model
        changed = (key for key in sorted(now, reverse=True) if before.get(key) != now[key])  # a model before its devices
        calls += [_change(key, now[key], new=key not in before) for key in changed]
        if calls:
            await self._aio.run(lambda: _call(mapper.socket, calls))
        if self.mappers.get(mapper.name) == mapper:
            self._told[mapper.name] = now

    # On asyncio's loop

    async def _serve(self, asks: Batches[_Ask | None]) -> None:
        """Until cancelled, by trio or with the loop. UnreachableError: the socket cannot be made."""
        serving = Server([_Service(asks)])
        mask = os.umask(0o177)  # nobody but the owner, from the first moment on
        try:
            self._socket.unlink(missing_ok=True)
            await serving.start(path=str(self._socket))
        except OSError as error:
            raise UnreachableError(f"{self._socket} cannot be listened at: {error.strerror}") from error
        finally:
            os.umask(mask)
        try:
            asks.put([None])
            await asyncio.Event().wait()
        finally:
            serving.close()
            await serving.wait_closed()
            self._socket.unlink(missing_ok=True)


class _Service:
    """DeviceManagerService, for grpclib."""

    def __init__(self, asks: Batches[_Ask | None]) -> None:
        self._asks = asks

    def __mapping__(self) -> dict[str, Handler]:
        return {
            f"{MANAGER}{method}": Handler(
                self._handle, Cardinality.UNARY_UNARY, CLASSES[f"{method}Request"], CLASSES[f"{method}Response"]
            )
            for method in ("MapperRegister", "ReportDeviceStatus", "ReportDeviceStates")
        }

    async def _handle(self, stream: "Stream[Any, Any]") -> None:
        request = await stream.recv_message()
        if request is None:
            raise GRPCError(Status.INVALID_ARGUMENT, "a request is expected")
        ask = _Ask(request, asyncio.get_running_loop().create_future())
        self._asks.put([ask])
        answer = await ask.answer
        if isinstance(answer, EdgedError):
            kind = Status.NOT_FOUND if isinstance(answer, NotFoundError) else Status.INVALID_ARGUMENT
            raise GRPCError(kind if isinstance(answer, NotFoundError | InvalidError) else Status.UNAVAILABLE, str(answer))
        await stream.send_message(answer)


Call = tuple[str, Any]  # a method of DeviceMapperService and its request


def _known(found: Iterable[tuple[Device, DeviceModel | None]], *, status: bool = False) -> dict[tuple[str, str, str], Any]:
    """What a mapper is to know, as messages: each device and its model."""
    known: dict[tuple[str, str, str], Any] = {}
    for device, model in found:
        known["device", device.metadata.namespace, device.metadata.name] = speech.device(device, status=status)
        if model is not None:
            known["model", model.metadata.namespace, model.metadata.name] = speech.model(model)
    return known


def _change(key: tuple[str, str, str], message: Any, *, new: bool) -> Call:
    if key[0] == "model":
        method = "CreateDeviceModel" if new else "UpdateDeviceModel"
        return method, CLASSES[f"{method}Request"](model=message)
    method = "RegisterDevice" if new else "UpdateDevice"
    return method, CLASSES[f"{method}Request"](device=message)


def _removal(key: tuple[str, str, str]) -> Call:
    kind, namespace, name = key
    if kind == "model":
        return "RemoveDeviceModel", CLASSES["RemoveDeviceModelRequest"](modelName=name, modelNamespace=namespace)
    return "RemoveDevice", CLASSES["RemoveDeviceRequest"](deviceName=name, deviceNamespace=namespace)


async def _call(socket: str, calls: Sequence[Call]) -> None:
    """Call a mapper, one after another. UnreachableError: it cannot be reached, or refuses."""
    channel = Channel(path=socket)
    try:
        for method, request in calls:
            stub: Any = UnaryUnaryMethod(
                channel, f"{MAPPER}{method}", CLASSES[f"{method}Request"], CLASSES[f"{method}Response"]
            )
            answer: Awaitable[Any] = stub(request, timeout=CALL_S)
            await answer
    except (OSError, TimeoutError, GRPCError, StreamTerminatedError, ProtocolError) as error:
        said = error.message if isinstance(error, GRPCError) else str(error) or type(error).__name__
        raise UnreachableError(f"{socket} does not take {method}: {said}") from error
    finally:
        channel.close()
