"""The whole daemon on one screen: opens the store, wires the rooms, starts them, and stops them in the opposite order."""

import os
import signal
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import IPv4Network
from itertools import starmap
from pathlib import Path
from random import SystemRandom

import trio

from edged import __version__
from edged.api.door import Api
from edged.config import READINGS, STORE, BusSettings, Config
from edged.control import machine
from edged.control.controllers import Control
from edged.control.nodes import Facts
from edged.device.alarms import Turn
from edged.device.bus.bus import Bus
from edged.device.doors import DeviceDoors
from edged.device.history.journal import Journal
from edged.device.history.ring import Limits
from edged.device.mapper import Mappers
from edged.device.push.pushing import Pushing
from edged.device.readings import Reading
from edged.device.reporter import Outlets
from edged.device.rules.router import Rules
from edged.device.worker import Devices
from edged.errors import DeniedError, InvalidError, ProtocolError, UnreachableError
from edged.hub.hub import Handler, Hub
from edged.hub.stream import LinkStream
from edged.identity.keyring import Keyring
from edged.identity.node import Identity
from edged.identity.verifier import Verifier
from edged.kit.address import parse_address
from edged.kit.backoff import Backoff
from edged.kit.broker import BrokerSettings
from edged.kit.executor import Worker
from edged.kit.files import alone
from edged.kit.interfaces import routes
from edged.kit.log import Log, libraries
from edged.kit.notify import READY, STOPPING, notify
from edged.kit.proxy import chosen_proxy
from edged.kit.supervise import Service, supervise_service
from edged.mesh import kernel
from edged.mesh.addresses import allocate, is_service_address
from edged.mesh.hostdns import HostDns
from edged.mesh.mesh import DNS_PORT, Mesh
from edged.model.core import Node
from edged.model.objects import key, typed
from edged.model.ranges import Route, pod_network, taken
from edged.report import Report
from edged.runtime.choose import choose_driver
from edged.runtime.logs import ContainerLogs
from edged.runtime.worker import Runtime
from edged.store.events import WARNING, Recorder
from edged.store.store import Store, open_store
from edged.sync.abroad import Abroad
from edged.sync.clock import Clock
from edged.sync.group import Group
from edged.wire.peer import Deliver, DeviceCall, DeviceHistory, Flows, Logs, Opening, Sync, Tunnel

READ = 64 << 10  # bytes asked of a stream at once
DAY_S = 86400.0
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 30.0
VERSION_S = 2.0  # for the runtime to say its version: one that hangs must not hold up the node


async def run(config: Config) -> int:
    """Run a node until SIGTERM or SIGINT; 0. InvalidError, StorageError or UnreachableError when it cannot start."""
    identity = Identity.load(config.state_dir)
    log = Log(level=config.log.level, node=identity.name)
    wall = wall_clock(config.node.clock_offset_s)
    clock = Clock(wall, steady=time.monotonic)
    opened = open_store(
        config.state_dir / STORE,
        origin=identity.name,
        group=identity.group,
        sign=identity.seal,
        stamp=clock.stamp,
        executor=Worker(),
        log=log,
    )
    with alone(config.state_dir), libraries(log):
        async with opened as store, trio.open_nursery() as nursery:
            clock.observe(store.latest_clock)
            house = _House(config, identity, store, clock, wall, log)
            nursery.start_soon(_stop_on_signal, house, nursery.cancel_scope, log)
            await house.serve(nursery)
            log.info(f"edged {__version__} is ready")
            notify(READY, os.environ)
    return 0


def wall_clock(offset_s: float) -> Callable[[], float]:
    """The wall clock of all rooms: the machine's, in seconds since 1970, and `offset_s` more."""
    return lambda: time.time() + offset_s


class _House:
    """The rooms of one node. Each is made from what it needs; what it gives to others is an argument of theirs."""

    def __init__(
        self, config: Config, identity: Identity, store: Store, clock: Clock, wall: Callable[[], float], log: Log
    ) -> None:
        node, random = identity.name, SystemRandom()
        root = os.geteuid() == 0 if config.mesh.rootless is None else not config.mesh.rootless
        relays = config.hub.relays or identity.relays
        handlers: dict[type[Opening], Handler] = {}
        self._identity, self._store, self._wall, self._log = identity, store, wall, log
        self._hub = Hub(
            identity=identity,
            verifier=Verifier(identity.authority_pem),
            relays=relays,
            listen=config.hub.listen,
            peers=config.hub.peers,
            proxy=chosen_proxy(config.hub.proxy, config.hub.proxy_password_file),
            discovery=config.hub.discovery,
            port_mapping=config.hub.port_mapping,
            state_dir=config.state_dir,
            handlers=handlers,
            log=log,
            random=random,
            wall=wall,
        )
        keys = Keyring(Verifier(identity.authority_pem), store.certificates())
        keys.learn(identity.certificate_der)
        self._group = Group(
            *(store, clock, identity, keys, self._hub),
            lease=config.group.lease_s,
            random=random,
            log=log,
            abroad=Abroad(identity.subject, self._hub),
        )
        self._pods, self._no_pods = pods(config, root=root)
        self._events = Recorder(store, "edged", node, wall, log)
        self._mesh = Mesh(
            store=store,
            node=node,
            group=identity.group,
            open_stream=self._hub.open_stream,
            root=root,
            dns=config.mesh.dns,
            resolvers=config.mesh.resolvers,
            loopback=config.mesh.loopback,
            host_dns=HostDns() if config.mesh.host_dns else None,
            socks5=config.mesh.socks5,
            pods=self._pods,
            log=log,
            random=random,
        )
        self._driver = driver = choose_driver(
            config.runtime.driver,
            node=node,
            directory=config.state_dir / "pods",
            socket=config.runtime.docker_socket,
            network=config.runtime.network,
            pods=self._range,
            told=self._tell_no_pods,
            dns=(self._mesh.dns.host,) if root and config.mesh.enabled and self._mesh.dns.port == DNS_PORT else (),
        )
        self._host_ip = machine.host_ip()
        events = Recorder(store, "edged-runtime", node, wall, log)
        self._runtime = Runtime(
            store, driver, node=node, host_ip=self._host_ip, recorder=events, log=log, random=random, clock=wall
        )
        self._logs = ContainerLogs(store, driver, node=node)
        told = Recorder(store, "edged-device", node, wall, log)
        self._journal = Journal(
            config.state_dir / READINGS,
            Limits(config.history.max_mb << 20, config.history.max_days * DAY_S, config.history.max_reports),
            config.history.when_full,
            wall,
            log,
            partial(self._tell, told),
            writer=Worker(),
            reader=Worker(),
        )
        self._mappers = Mappers(config.state_dir)
        self._pushing = Pushing(
            *(store, self._journal, node, os.environ, random, log, told),
            tell=lambda name, found: self._devices.pushing(name, found),  # noqa: PLW0108  it is made below
        )
        outlets = Outlets(store, self._take, self._take_alarm, told)
        self._devices = Devices(outlets, node, wall, random, log, self._mappers, self._pushing.listed)
        self._doors = DeviceDoors(self._devices.call, self._journal.history)
        self._bus = Bus(_broker(config.bus), store, self._devices, node, wall, random, log)
        self._rules = Rules(store, self._bus, node, config.bus.rest, config.bus.servicebus, self._hub.open_stream, random, log)
        report = Report(
            identity, store, self._hub, self._group, self._mesh, clock, relays, (self._journal.figures, self._pushing.figures)
        )
        listen = parse_address(config.api.listen)
        self._api = Api(
            store,
            identity,
            state_dir=config.state_dir,
            host=listen.host,
            port=listen.port,
            socket_path=Path(config.api.socket),
            allocate=allocate,
            open_logs=self._open,
            open_device=self._open,
            wall=wall,
            new_uid=lambda: str(uuid.uuid4()),
            is_service_address=is_service_address,
            figures=report.figures,
            status=report.status,
            netcheck=report.netcheck,
            ping=report.ping,
            log=log,
        )
        handlers |= {
            Sync: self._group.replicator.serve,
            Tunnel: self._mesh.serve_tunnel,
            Flows: self._mesh.serve_flows,
            Logs: self._logs.serve,
            DeviceCall: self._doors.serve,
            DeviceHistory: self._doors.serve,
            Deliver: self._rules.serve,
        }
        self._config, self._random = config, random

    async def serve(self, nursery: trio.Nursery) -> None:
        """Start every room, those that others need first; returns when all are ready.

        Devices come before all that waits for others: each moment until they are read is lost to the history.
        """
        for device_room in (self._journal, self._pushing, self._devices):
            await nursery.start(device_room.run)
        await nursery.start(self._hub.run)
        await nursery.start(self._group.run)
        if self._config.mesh.enabled:
            # Started when names resolve, so that a pod's first question is answered; or cannot for now: pods start then, too.
            await nursery.start(self._supervised(self._mesh.run, UnreachableError))
        await nursery.start((await self._control()).run)
        if self._no_pods:
            await self._tell_no_pods(self._no_pods)
        await nursery.start(self._runtime.run)
        await nursery.start(self._rules.run)
        await nursery.start(self._bus.run)
        if self._config.dmi.socket:
            await nursery.start(self._supervised(self._dmi(), UnreachableError, ProtocolError))
        await nursery.start(self._api.run)

    async def leave(self) -> None:
        """A planned stop: the group hears of it, and what is volatile is written."""
        await self._group.leave()

    def _take(self, namespace: str, name: str, readings: Sequence[Reading]) -> None:
        """What a device said goes to everybody who is told."""
        self._journal.append(namespace, name, readings)
        self._bus.take(namespace, name, readings)

    def _take_alarm(self, namespace: str, name: str, of: str, turn: Turn) -> None:
        """So does an alarm."""
        self._bus.take_alarm(namespace, name, of, turn)

    async def _control(self) -> Control:
        """Control, once the runtime was asked for its version: a part of the Node that describes this machine."""
        runtime = f"{self._driver.name}://"
        with trio.move_on_after(VERSION_S), suppress(UnreachableError):
            runtime = await self._driver.version()
        facts = Facts(
            self._identity.name,
            str(uuid.uuid4()),
            self._identity.group,
            self._host_ip,
            machine.memory(),
            machine.cpus(),
            machine.system_info(__version__, runtime),
            self._config.node.labels,
            limited=self._identity.limited,
            pods=self._pods if self._driver.name == "docker" else None,
        )
        recorder = Recorder(self._store, "edged-control", self._identity.name, self._wall, self._log)
        settle = self._config.group.lease_s
        return Control(self._store, self._group.membership, facts, recorder, self._wall, self._log, settle)

    async def _tell(self, recorder: Recorder, reason: str, message: str) -> None:
        """Something that a person should know of this node."""
        node = self._store.get(key(Node, self._identity.name))
        if node is not None:
            await recorder.record(node, WARNING, reason, message)

    def _supervised(self, run: Service, *outages: type[Exception]) -> Callable[..., Awaitable[None]]:
        """A service that the host may refuse for now, and that all others can do without."""
        backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S, self._random)
        return partial(supervise_service, run, outages=outages, backoff=backoff, log=self._log)

    def _dmi(self) -> Service:
        """Mappers in processes of their own."""
        from edged.device.dmi.service import Service as Dmi  # gRPC: only a node that asks for it pays for it  # noqa: PLC0415

        socket = Path(self._config.dmi.socket)
        return Dmi(socket, self._store, self._devices, self._mappers, self._identity.name, self._log).run

    def _range(self) -> str:
        """The addresses of this node's pods, as its Node says; "" when they have none of their own."""
        there = self._store.get(key(Node, self._identity.name))
        return typed(there, Node).spec.pod_cidr if there is not None and self._pods is not None else ""

    async def _tell_no_pods(self, why: str) -> None:
        """Why pods cannot be called by address."""
        self._log.warning(why)
        await self._tell(self._events, "NoPodNetwork", why)

    async def _open(self, asked: Logs | DeviceCall | DeviceHistory, node: str) -> AsyncGenerator[bytes, None]:
        """What a container printed, or a device answers: from the rooms here, or over the link to its node."""
        if node == self._identity.name:
            return await (self._logs.open(asked) if isinstance(asked, Logs) else self._doors.open(asked))
        try:
            text = _text(await self._hub.open_stream(node, asked))
        except DeniedError as error:
            raise InvalidError(str(error)) from error  # the caller may ask; what was asked for is not there
        await anext(text)
        return text


def pods(config: Config, *, root: bool) -> tuple[IPv4Network | None, str]:
    """The network of pods' addresses; None where pods join another Docker network or calls are not carried. And why, if odd."""
    if not (root and config.mesh.enabled) or config.runtime.network:
        return None, ""
    network = pod_network(config.mesh.pod_network)
    other = taken(network, starmap(Route, routes()), kernel.INTERFACE)
    if other is None:
        return network, ""
    where = f"this machine reaches {other.network} by {other.interface}"
    return None, f"no pod network {network}, {where}: set mesh.pod_network to another one, on all nodes of the group"


async def _text(stream: LinkStream) -> AsyncGenerator[bytes, None]:
    """What comes on `stream`, after one empty piece: from there on closing this closes the stream, read or not.

    UnreachableError: the node or its link went before the end of the text.
    """
    async with stream:
        try:
            yield b""
            while data := await stream.receive_some(READ):
                yield bytes(data)
        except trio.BrokenResourceError as error:
            raise UnreachableError(f"the text breaks off: {error}") from error


async def _stop_on_signal(house: _House, scope: trio.CancelScope, log: Log) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info(f"{signal.Signals(number).name}: stopping; the containers go on")
            notify(STOPPING, os.environ)
            await house.leave()
            scope.cancel()
            return


def _broker(bus: BusSettings) -> BrokerSettings:
    return BrokerSettings(bus.mqtt, bus.user, bus.password_file, bus.authority_file, bus.certificate_file)
