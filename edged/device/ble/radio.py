"""The Bluetooth adapter that the devices of this node share, and the way to one device. On the asyncio loop."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakError

from edged.device.aio import Batches
from edged.device.ble.layout import Address, Field
from edged.device.mapper import Found, PropertyError, Sample
from edged.errors import EdgedError, UnreachableError
from edged.model.values import Value

MAX_LINKS = 5  # connections at a time: what most controllers hold; more devices take turns by being refused

T = TypeVar("T")
Seen = Callable[[BLEDevice, AdvertisementData], None]


class Radio:
    """An adapter. It scans while somebody wants to see what is there."""

    def __init__(self, adapter: str) -> None:
        self.adapter = {"adapter": adapter} if adapter else {}
        self.links = 0
        self._seen: list[Seen] = []
        self._scanner: BleakScanner | None = None
        self._turn = asyncio.Lock()

    async def watch(self, seen: Seen) -> None:
        """Call `seen` with what is advertised, until `unwatch`."""
        async with self._turn:
            if self._scanner is None:
                scanner = BleakScanner(self._detected, bluez=self.adapter)  # type: ignore[arg-type]  # all its keys are optional
                await scanner.start()
                self._scanner = scanner
            self._seen.append(seen)

    async def unwatch(self, seen: Seen) -> None:
        """No more for this one."""
        async with self._turn:
            self._seen = [each for each in self._seen if each is not seen]
            scanner = self._scanner
            if not self._seen and scanner is not None:
                self._scanner = None
                await scanner.stop()

    def _detected(self, device: BLEDevice, data: AdvertisementData) -> None:
        for seen in list(self._seen):
            seen(device, data)


def fits(address: Address, device: BLEDevice, data: AdvertisementData) -> bool:
    """Whether this is the device."""
    if address.mac_address:
        return device.address.upper() == address.mac_address
    if address.name:
        return address.name in {device.name, data.local_name}
    return address.service in data.service_uuids or address.service in data.service_data


class Link:
    """One device: connected to, or a beacon that is listened to. `heard` gets what it sends; UnreachableError ends it."""

    def __init__(self, address: Address, radio: Radio, heard: Batches[tuple[Field, Found]]) -> None:
        self.address, self.heard = address, heard
        self._radio = radio
        self._client: BleakClient | None = None
        self._lost = ""
        self._fields: tuple[Field, ...] = ()  # those of a beacon that are listened to
        self._data: AdvertisementData | None = None
        self._found: asyncio.Future[BLEDevice] | None = None
        self._seen_at = 0.0
        self._silence: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Find the device, and connect unless it is a beacon. UnreachableError."""
        await self._translated(self._open)

    async def _open(self) -> None:
        self._found = asyncio.get_running_loop().create_future()
        await self._radio.watch(self._seen)
        try:
            try:
                async with asyncio.timeout(self.address.timeout):
                    device = await self._found
            except TimeoutError:
                raise UnreachableError(f"is not seen within {self.address.timeout:g} s") from None
            if self.address.beacon:
                self._check_silence()
                return
        except BaseException:
            await self._radio.unwatch(self._seen)
            raise
        await self._radio.unwatch(self._seen)
        await self._connect(device)

    async def _connect(self, device: BLEDevice) -> None:
        if self._radio.links >= MAX_LINKS:
            raise UnreachableError(f"waits for one of the {MAX_LINKS} connections of this node")
        self._radio.links += 1
        client = BleakClient(
            device, self._disconnected, timeout=self.address.timeout, pair=self.address.pair,
            bluez=self._radio.adapter,  # type: ignore[arg-type]  # as above
        )  # fmt: skip
        try:
            await client.connect()
        except BaseException:
            self._radio.links -= 1
            raise
        self._client = client

    async def close(self) -> None:
        """Let it go."""
        if self._silence is not None:
            self._silence.cancel()
        if self.address.beacon:
            await self._radio.unwatch(self._seen)
        client, self._client = self._client, None
        if client is not None:
            self._radio.links -= 1
            with suppress(BleakError, OSError, TimeoutError):  # it is let go either way
                await client.disconnect()

    def _disconnected(self, _client: BleakClient) -> None:
        if self._client is not None:
            self._lose("breaks the connection")

    def _lose(self, why: str) -> None:
        self._lost = self._lost or why
        self.heard.fail(UnreachableError(f"{self.address} {why}"))

    # Beacons

    def _seen(self, device: BLEDevice, data: AdvertisementData) -> None:
        if not fits(self.address, device, data):
            return
        self._data, self._seen_at = data, asyncio.get_running_loop().time()
        if self._found is not None and not self._found.done():
            self._found.set_result(device)
        if self._fields:
            self.heard.put([(each, _advertised(each, data)) for each in self._fields])

    def _check_silence(self) -> None:
        loop = asyncio.get_running_loop()
        until = self._seen_at + self.address.timeout
        if loop.time() >= until:
            self._lose(f"is not heard for {self.address.timeout:g} s")
        else:
            self._silence = loop.call_at(until, self._check_silence)

    # Values

    async def read(self, fields: Sequence[Field]) -> list[Found]:
        """What the device says; each characteristic is read once."""
        return await self._translated(lambda: self._read(fields))

    async def _read(self, fields: Sequence[Field]) -> list[Found]:
        client, data = self._client, self._data
        if self.address.beacon and data is not None:
            return [_advertised(each, data) for each in fields]
        held: dict[str, bytes | PropertyError] = {}
        for uuid in dict.fromkeys(each.visitor.characteristic for each in fields):
            held[uuid] = await self._held(client, uuid)
        return [_decoded(each, held[each.visitor.characteristic]) for each in fields]

    async def _held(self, client: BleakClient | None, uuid: str) -> bytes | PropertyError:
        if not uuid:
            return PropertyError("is advertised only: make the device a beacon")
        if client is None:
            raise UnreachableError("is not connected")
        try:
            async with asyncio.timeout(self.address.timeout):
                return bytes(await client.read_gatt_char(uuid))
        except BleakError as error:
            if not client.is_connected:
                raise
            return PropertyError(f"is refused: {error}")

    async def write(self, field: Field, value: Value) -> None:
        """Write the whole characteristic. PropertyError: it is refused, or there is none."""
        await self._translated(lambda: self._write(field, value))

    async def _write(self, field: Field, value: Value) -> None:
        client = self._client
        if client is None:
            raise PropertyError("is a beacon's: nothing is written to it")
        try:
            async with asyncio.timeout(self.address.timeout):
                await client.write_gatt_char(field.visitor.characteristic, field.encode(value), response=True)
        except BleakError as error:
            if not client.is_connected:
                raise
            raise PropertyError(f"is refused: {error}") from error

    async def listen(self, fields: Sequence[Field]) -> frozenset[Field]:
        """Have the device send these; those that it does are returned. Their values of now come first."""
        return await self._translated(lambda: self._listen(fields))

    async def _listen(self, fields: Sequence[Field]) -> frozenset[Field]:
        if self.address.beacon:
            self._fields = tuple(fields)
            if self._data is not None:
                self.heard.put([(each, _advertised(each, self._data)) for each in self._fields])
            return frozenset(self._fields)
        client, hearing = self._client, []
        if client is None:
            raise UnreachableError("is not connected")
        for uuid in dict.fromkeys(each.visitor.characteristic for each in fields):
            characteristic = client.services.get_characteristic(uuid) if uuid else None
            if characteristic is None or not {"notify", "indicate"} & set(characteristic.properties):
                continue
            mine = [each for each in fields if each.visitor.characteristic == uuid]
            try:
                await client.start_notify(characteristic, self._notified(mine))
            except BleakError:
                if not client.is_connected:
                    raise
                continue  # it is read instead
            if "read" in characteristic.properties:
                data = await self._held(client, uuid)
                self.heard.put([(each, _decoded(each, data)) for each in mine])
            hearing += mine
        return frozenset(hearing)

    def _notified(self, mine: Sequence[Field]) -> Callable[[BleakGATTCharacteristic, bytearray], None]:
        return lambda _, data: self.heard.put([(each, _decoded(each, bytes(data))) for each in mine])

    # Errors

    async def _translated(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._lost:
            raise UnreachableError(f"{self.address} {self._lost}")
        try:
            return await work()
        except PropertyError:
            raise
        except EdgedError as error:
            raise UnreachableError(f"{self.address} {error}") from error
        except TimeoutError as error:
            raise UnreachableError(f"{self.address} does not answer within {self.address.timeout:g} s") from error
        except Exception as error:  # a BleakError, or what it raises for a BlueZ that is older or other than it knows
            raise UnreachableError(f"{self.address} is not reached: {str(error) or type(error).__name__}") from error


def _decoded(field: Field, data: bytes | PropertyError) -> Found:
    if isinstance(data, PropertyError):
        return data
    try:
        return Sample(field.decode(data))
    except PropertyError as error:
        return error


def _advertised(field: Field, data: AdvertisementData) -> Found:
    visitor = field.visitor
    if visitor.rssi:
        return Sample(field.signal(data.rssi))
    if visitor.manufacturer is not None:
        held = data.manufacturer_data.get(visitor.manufacturer)
    else:
        held = data.service_data.get(visitor.service_data)
    return PropertyError("is not in what it advertises") if held is None else _decoded(field, held)
