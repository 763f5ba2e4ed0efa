"""What containers of this node printed: for its own API, and for another node that asks over the link."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import trio

from edged.errors import InvalidError, NotFoundError
from edged.hub.answering import serve_text
from edged.model.core import Pod
from edged.model.objects import key, typed
from edged.runtime.driver import Driver, LogOptions, Observed
from edged.runtime.status import ENDED
from edged.store.store import Store
from edged.wire.peer import Logs

LATEST = 1 << 40  # seconds since 1970 that a log may be asked from: whatever comes later is no time


class ContainerLogs:
    """The logs of the pods of node `node`."""

    def __init__(self, store: Store, driver: Driver, *, node: str) -> None:
        self._store, self._driver, self._node = store, driver, node

    async def open(self, asked: Logs) -> AsyncGenerator[bytes, None]:
        """The text that `asked` asks for; close it (`contextlib.aclosing`).

        `since` is in seconds since 1970 (0: all), `tail` in lines and `limit` in bytes (-1: all); an empty `container` is
        the pod's only one; `previous` is the attempt that ended before. Raises NotFoundError and InvalidError with kubectl's
        words, UnreachableError when the runtime is away.
        """
        pod = self._pod(asked)
        container = self._container(pod, asked)
        seen = [one for one in await self._driver.containers(pod.metadata.uid) if one.identity.container == container]
        chosen = _previous(pod, container, seen) if asked.previous else _current(pod, container, seen)
        if not 0 <= asked.since <= LATEST:
            raise InvalidError(f"since {asked.since}: expected seconds since 1970")
        options = LogOptions(follow=asked.follow, tail=asked.tail, since=asked.since, timestamps=asked.timestamps)
        return _limited(self._driver.logs(chosen.id, options), asked.limit)

    async def serve(self, peer: str, asked: Logs, stream: trio.abc.HalfCloseableStream) -> None:
        """Answer a peer's `Logs` stream: Opened and the text to its end, or Refused. The peer's end of stream means enough."""
        await serve_text(lambda: self.open(asked), stream)

    def _pod(self, asked: Logs) -> Pod:
        found = self._store.get(key(Pod, asked.pod, asked.namespace))
        pod = None if found is None else typed(found, Pod)
        if pod is None or pod.spec.node_name != self._node:
            raise NotFoundError(f'pods "{asked.pod}" not found' + (f" on node {self._node}" if pod is not None else ""))
        return pod

    def _container(self, pod: Pod, asked: Logs) -> str:
        names = [container.name for container in pod.spec.containers]
        if not asked.container and len(names) == 1:
            return names[0]
        if not asked.container:
            choices = " ".join(names)
            raise InvalidError(f"a container name must be specified for pod {pod.metadata.name}, choose one of: [{choices}]")
        if asked.container not in names:
            raise InvalidError(f"container {asked.container} is not valid for pod {pod.metadata.name}")
        return asked.container


def _current(pod: Pod, container: str, seen: list[Observed]) -> Observed:
    begun = [one for one in seen if one.state != "created"]
    if begun:
        return begun[-1]
    waiting = [one.state.waiting for one in pod.status.container_statuses if one.name == container and one.state.waiting]
    reason = waiting[0].reason if waiting else "ContainerCreating"
    name = pod.metadata.name
    if reason == "ContainerCreating":
        raise InvalidError(f'container "{container}" in pod "{name}" is waiting to start: {reason}')
    raise InvalidError(f'container "{container}" in pod "{name}" is waiting to start: {waiting[0].message or reason}')


def _previous(pod: Pod, container: str, seen: list[Observed]) -> Observed:
    """The newest ended attempt, unless it is what the pod itself ended with."""
    newest = seen[-1:] if pod.status.phase in ENDED or (seen and seen[-1].state != "exited") else []
    ended = [one for one in seen if one.state == "exited" and one not in newest]
    if not ended:
        raise InvalidError(f'previous terminated container "{container}" in pod "{pod.metadata.name}" not found')
    return ended[-1]


async def _limited(text: AsyncGenerator[bytes, None], limit: int) -> AsyncGenerator[bytes, None]:
    """The first `limit` bytes of a text; all when negative."""
    left = limit
    async with aclosing(text):
        async for chunk in text:
            if limit >= 0 and left <= len(chunk):
                yield chunk[:left]
                return
            left -= len(chunk)
            yield chunk
