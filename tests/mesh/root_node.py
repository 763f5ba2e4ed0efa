"""A mesh with root in the namespace that this program is started in, and the things around it; run by test_redirected.py.

A pod on this node answers HTTP at POD. Services: `web` (that pod), `far` (a pod on gw-b, which the link reaches), `gone`
(a pod that refuses), `empty` (no pod), `pods`, `sticky` and `open` (two pods with addresses of their own). Prints "ready";
ends with its input, and answers each line of it with one of
statistics, after it has deleted the pod that the line names; or, to `call POD`, with what that pod says to a call of `far-1`.
Addresses of pods are in 10.77.0.0/16: `far-1` on gw-b, and the two pods.
"""

import json
import sys
from functools import partial
from ipaddress import IPv4Network
from itertools import count
from random import Random
from typing import Any

import trio
import trio.testing
from msgspec.structs import replace
from trio.abc import HalfCloseableStream

from edged.kit.executor import Inline
from edged.kit.log import Log
from edged.mesh.flowlink import FlowLink
from edged.mesh.mesh import Mesh
from edged.model.core import Pod, PodSpec, PodStatus, Service, ServicePort, ServiceSpec
from edged.model.meta import Condition, ObjectMeta
from edged.model.objects import Key, dump, key_of
from edged.store.store import open_store
from edged.store.writes import Create, Delete, Write
from edged.wire.peer import Datagram, Flows, Tunnel

POD = "10.88.0.5"
NETWORK, FAR = IPv4Network("10.77.0.0/16"), "10.77.9.5"
WEB, DNS = ServicePort(80, "web"), ServicePort(53, "dns", "UDP")


def service(name: str, ip: str, *ports: ServicePort, app: str = "", **spec: Any) -> Service:
    made = ServiceSpec({"app": app or name}, ports or (ServicePort(80),), ip, **spec)
    return Service("v1", "Service", ObjectMeta(name=name, namespace="default"), made)


def pod(name: str, app: str, node: str, ip: str) -> Pod:
    metadata = ObjectMeta(name=name, namespace="default", labels={"app": app})
    return Pod("v1", "Pod", metadata, PodSpec(node_name=node), PodStatus(pod_ip=ip, conditions=(Condition("Ready", "True"),)))


SERVICES = [
    service("web", "9.251.1.2"),
    service("far", "9.251.1.3"),
    service("far-dns", "9.251.1.9", DNS, app="far"),
    service("gone", "9.251.1.4"),
    service("empty", "9.251.1.5"),
    service("pods", "9.251.1.6", WEB, DNS),
    service("sticky", "9.251.1.7", WEB, DNS, app="pods", session_affinity="ClientIP"),
    service(
        *("open", "9.251.1.8", replace(WEB, node_port=30080), replace(DNS, node_port=30053)),
        **{"app": "pods", "type": "NodePort", "external_ips": ("203.0.113.7",)},
    ),
]
PODS = [
    pod("web-0", "web", "gw-a", POD),
    pod("far-0", "far", "gw-b", "172.17.0.2"),
    pod("far-1", "far-1", "gw-b", FAR),
    pod("lie", "lie", "gw-a", "10.77.9.6"),
    pod("gone-0", "gone", "gw-a", "10.88.0.6"),
    pod("pod-a", "pods", "gw-a", "10.77.0.3"),
    pod("pod-b", "pods", "gw-a", "10.77.0.4"),
]


def objects() -> list[Write]:
    return [
        *(Create(key_of(each), each.metadata.name, dump(each)) for each in SERVICES),
        *(Create(key_of(each), each.metadata.name, dump(each), dump(each.status)) for each in PODS),
    ]


async def echo(stream: HalfCloseableStream) -> None:
    """Pods on another node that send each datagram back."""
    link = FlowLink(lambda said: link.send(said) if isinstance(said, Datagram) else None)
    await link.run(stream)


async def answer(body: bytes, stream: HalfCloseableStream) -> None:
    """One HTTP/1.1 request, and `body`."""
    async with stream:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some(4096) or b"\r\n\r\n"
        await stream.send_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await stream.send_eof()


async def call(mesh: Mesh, name: str) -> str:
    """What a pod of this node says to `far-1`, which calls it from gw-b by its address."""
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mesh.serve_tunnel, "gw-b", Tunnel("default", "", 80, name, "default", FAR), far)
        await near.send_all(b"GET / HTTP/1.1\r\n\r\n")
        said = b""
        while data := await near.receive_some(4096):
            said += data
        await near.send_eof()
    return said.rpartition(b"\r\n\r\n")[2].decode()


async def main() -> None:
    clock = count(1)
    async with (
        open_store(":memory:", origin="gw-a", stamp=lambda: next(clock), executor=Inline()) as store,
        trio.open_nursery() as nursery,
    ):

        async def open_stream(node: str, opening: Tunnel | Flows, head: bytes = b"") -> HalfCloseableStream:
            near, far = trio.testing.memory_stream_pair()
            if isinstance(opening, Flows):
                nursery.start_soon(echo, far)
                return near
            nursery.start_soon(answer, f"from {opening.pod} on {node}\n".encode(), far)
            await near.send_all(head)
            return near

        await store.write(*objects())
        await nursery.start(partial(trio.serve_tcp, partial(answer, b"from the pod\n"), 80, host=POD))
        mesh = Mesh(store=store, node="gw-a", open_stream=open_stream, root=True, pods=NETWORK, log=Log(), random=Random(1))
        await nursery.start(mesh.run)
        print("ready", flush=True)  # noqa: T201
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            match line.split():
                case ["call", name]:
                    print(json.dumps(await call(mesh, name)), flush=True)  # noqa: T201
                    continue
                case [gone]:
                    await store.write(Delete(Key("pods", "default", gone)))
            print(json.dumps(mesh.statistics()), flush=True)  # noqa: T201
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
