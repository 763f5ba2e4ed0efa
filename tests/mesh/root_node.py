"""A mesh with root in the namespace that this program is started in, and the things around it; run by test_redirected.py.

A pod on this node answers HTTP at POD. Services: `web` (that pod), `far` (a pod on gw-b, which the link reaches), `gone`
(a pod that refuses), `empty` (no pod). Prints "ready"; answers each line of input with one line of statistics; ends with
its input.
"""

import json
import sys
from functools import partial
from itertools import count
from random import Random

import trio
import trio.testing
from trio.abc import HalfCloseableStream

from edged.kit.executor import Inline
from edged.kit.log import Log
from edged.mesh.mesh import Mesh
from edged.model.core import Pod, PodSpec, PodStatus, Service, ServicePort, ServiceSpec
from edged.model.meta import Condition, ObjectMeta
from edged.model.objects import dump, key_of
from edged.store.store import open_store
from edged.store.writes import Create, Write
from edged.wire.peer import Tunnel

POD = "10.88.0.5"
SERVICES = {"web": "9.251.1.2", "far": "9.251.1.3", "gone": "9.251.1.4", "empty": "9.251.1.5"}
PODS = {"web": ("gw-a", POD), "far": ("gw-b", "172.17.0.2"), "gone": ("gw-a", "10.88.0.6")}


def objects() -> list[Write]:
    services = [
        Service("v1", "Service", ObjectMeta(name=name, namespace="default"), ServiceSpec({"app": name}, (ServicePort(80),), ip))
        for name, ip in SERVICES.items()
    ]
    pods = [
        Pod(
            *("v1", "Pod", ObjectMeta(name=f"{name}-0", namespace="default", labels={"app": name}), PodSpec(node_name=node)),
            PodStatus(pod_ip=ip, conditions=(Condition("Ready", "True"),)),
        )
        for name, (node, ip) in PODS.items()
    ]
    return [
        *(Create(key_of(each), each.metadata.name, dump(each)) for each in services),
        *(Create(key_of(each), each.metadata.name, dump(each), dump(each.status)) for each in pods),
    ]


async def answer(body: bytes, stream: HalfCloseableStream) -> None:
    """One HTTP/1.1 request, and `body`."""
    async with stream:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some(4096) or b"\r\n\r\n"
        await stream.send_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await stream.send_eof()


async def main() -> None:
    clock = count(1)
    async with (
        open_store(":memory:", origin="gw-a", stamp=lambda: next(clock), executor=Inline()) as store,
        trio.open_nursery() as nursery,
    ):

        async def open_stream(node: str, opening: Tunnel) -> HalfCloseableStream:
            near, far = trio.testing.memory_stream_pair()
            nursery.start_soon(answer, f"from {opening.pod} on {node}\n".encode(), far)
            return near

        await store.write(*objects())
        await nursery.start(partial(trio.serve_tcp, partial(answer, b"from the pod\n"), 80, host=POD))
        mesh = Mesh(store=store, node="gw-a", open_stream=open_stream, root=True, log=Log(), random=Random(1))
        await nursery.start(mesh.run)
        print("ready", flush=True)  # noqa: T201
        while await trio.to_thread.run_sync(sys.stdin.readline):
            print(json.dumps(mesh.statistics()), flush=True)  # noqa: T201
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
