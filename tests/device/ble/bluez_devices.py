"""A thermometer and a beacon in BlueZ's D-Bus interface, as python-dbusmock has it; run by the system's own Python.

Lines on standard input, each answered `done`: `notify HEX`, `advertise HEX`, `break`, `hide`, `show`, `get`, `paired`,
`refuse` and `accept` (connections).
"""

# ruff: noqa: T201  what is printed is the answer
# mypy: ignore-errors
import select
import sys
import time
from typing import Any

import dbus

GATT = "org.bluez.GattCharacteristic1"
DEVICE = "org.bluez.Device1"
MOCK = "org.freedesktop.DBus.Mock"
SHORT = "0000{}-0000-1000-8000-00805f9b34fb"
READ = f'ret = self.props["{GATT}"]["Value"]'
WRITE = f'self.props["{GATT}"]["Value"] = args[0]'
REFUSE = 'raise dbus.exceptions.DBusException("Not permitted", name="org.bluez.Error.NotPermitted")'
FAIL = 'raise dbus.exceptions.DBusException("Connection Failed", name="org.bluez.Error.Failed")'
CONNECTED = f'["{DEVICE}", {{"Connected": dbus.Boolean(True, variant_level=1)}}, []]'
CONNECT = f'self.connected = True\nself.EmitSignal(dbus.PROPERTIES_IFACE, "PropertiesChanged", "sa{{sv}}as", {CONNECTED})'
PAIR = f'self.UpdateProperties("{DEVICE}", {{"Paired": dbus.Boolean(True)}})\n{CONNECT}'  # BlueZ connects to pair
DATA = {"temperature": b"\x6e\x08", "setpoint": b"\x15", "secret": b"\0"}
FLAGS = {"temperature": ["read", "notify"], "setpoint": ["read", "write"], "secret": ["read"]}
UUIDS = {"temperature": SHORT.format("2a6e"), "setpoint": SHORT.format("fff1"), "secret": SHORT.format("fff2")}


def octets(data: Any) -> Any:
    return dbus.Array([dbus.Byte(each) for each in data], signature="y")


def thing(bus: Any, path: Any) -> Any:
    return bus.get_object("org.bluez", path)


def change(bus: Any, path: Any, interface: Any, properties: Any) -> None:
    for name, value in properties.items():
        thing(bus, path).Set(interface, name, value, dbus_interface=dbus.PROPERTIES_IFACE)


def add_characteristic(bus: Any, service: Any, number: Any, name: Any) -> Any:
    path = f"{service}/char{number:04x}"
    properties = {
        "UUID": dbus.String(UUIDS[name]),
        "Service": dbus.ObjectPath(service),
        "Value": octets(DATA[name]),
        "Flags": dbus.Array(FLAGS[name], signature="s"),
        "Notifying": dbus.Boolean(False),
        "Handle": dbus.UInt16(number),
        "MTU": dbus.UInt16(23),
    }
    methods = [
        ("ReadValue", "a{sv}", "ay", REFUSE if name == "secret" else READ),
        ("WriteValue", "aya{sv}", "", WRITE),
        ("StartNotify", "", "", ""),
        ("StopNotify", "", "", ""),
    ]
    thing(bus, "/").AddObject(path, GATT, properties, methods, dbus_interface=MOCK)
    return path


def main() -> None:
    bus = dbus.SystemBus()
    for _ in range(300):
        if bus.name_has_owner("org.bluez"):
            break
        time.sleep(0.1)
    mock = dbus.Interface(thing(bus, "/org/bluez"), "org.bluez.Mock")
    mock.AddAdapter("hci0", "gateway")
    roles = dbus.Array(["central"], signature="s")
    thing(bus, "/org/bluez/hci0").AddProperty("org.bluez.Adapter1", "Roles", roles, dbus_interface=MOCK)
    sensor = mock.AddDevice("hci0", "AA:BB:CC:DD:EE:01", "kitchen")
    beacon = mock.AddDevice("hci0", "AA:BB:CC:DD:EE:02", "tag")
    for path in (sensor, beacon):
        nothing = {"ManufacturerData": dbus.Dictionary({}, signature="qv"), "ServiceData": dbus.Dictionary({}, signature="sv")}
        resolved = {"ServicesResolved": dbus.Boolean(path == sensor)}
        services = {"UUIDs": dbus.Array([SHORT.format("181a")] if path == sensor else [], signature="s")}
        change(bus, path, DEVICE, {**nothing, **resolved, **services})
    thing(bus, sensor).AddMethod(DEVICE, "Pair", "", "", PAIR, dbus_interface=MOCK)  # the template's makes a telephone of it
    advertise(bus, beacon, b"\x10\x27")
    service = f"{sensor}/service000a"
    properties = {
        "UUID": dbus.String(SHORT.format("181a")),
        "Device": dbus.ObjectPath(sensor),
        "Primary": dbus.Boolean(True),
        "Includes": dbus.Array([], signature="o"),
        "Handle": dbus.UInt16(10),
    }
    thing(bus, "/").AddObject(service, "org.bluez.GattService1", properties, [], dbus_interface=MOCK)
    paths = {name: add_characteristic(bus, service, 11 + at, name) for at, name in enumerate(DATA)}
    print("ready", flush=True)
    audible, strength = {sensor, beacon}, 0
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], 0.2)
        if not ready:  # a device advertises several times a second, and is never quite as strong as before
            strength = (strength + 1) % 10
            for path in audible:
                change(bus, path, DEVICE, {"RSSI": dbus.Int16(-60 - strength)})
            continue
        word, _, argument = sys.stdin.readline().strip().partition(" ")
        if word in {"hide", "show"}:
            audible = {sensor, beacon} if word == "show" else set()
        else:
            act(bus, word, bytes.fromhex(argument), sensor, beacon, paths)
        print("done", flush=True)


def advertise(bus: Any, beacon: Any, data: Any) -> None:
    held = {
        "ManufacturerData": dbus.Dictionary({dbus.UInt16(0x0499): octets(data)}, signature="qv"),
        "ServiceData": dbus.Dictionary({SHORT.format("fcd2"): octets(data[::-1])}, signature="sv"),
    }
    change(bus, beacon, DEVICE, held)


def act(bus: Any, word: Any, data: Any, sensor: Any, beacon: Any, paths: Any) -> None:
    if word == "notify":
        change(bus, paths["temperature"], GATT, {"Value": octets(data)})
    elif word == "advertise":
        advertise(bus, beacon, data)
    elif word == "break":
        thing(bus, sensor).Disconnect(dbus_interface=DEVICE)
    elif word in {"refuse", "accept"}:
        thing(bus, sensor).AddMethod(DEVICE, "Connect", "", "", FAIL if word == "refuse" else CONNECT, dbus_interface=MOCK)
    elif word == "get":
        held = thing(bus, paths["setpoint"]).ReadValue({}, dbus_interface=GATT)
        print("value", bytes(held).hex(), flush=True)
    elif word == "paired":
        print("paired", bool(thing(bus, sensor).Get(DEVICE, "Paired", dbus_interface=dbus.PROPERTIES_IFACE)), flush=True)


main()
