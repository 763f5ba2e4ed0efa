"""The Docker driver: containers of a dockerd, with their identity in labels."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from edged.errors import AlreadyExistsError, ConflictError, InvalidError, NotFoundError, UnreachableError
from edged.model.meta import JSON
from edged.model.times import parse_time
from edged.runtime.dockerd import SOCKET, Dockerd, LogFrames
from edged.runtime.driver import (
    LOG_FILE_BYTES,
    LOG_FILES,
    START_EXIT_CODE,
    START_REASON,
    ContainerSpec,
    Identity,
    LogOptions,
    Observed,
    State,
)
from edged.runtime.podnetwork import PodNetwork, unheard

if TYPE_CHECKING:
    from docker import APIClient

PREFIX = "edged.io/"
LABELS = {
    "node": f"{PREFIX}node",
    "namespace": f"{PREFIX}pod-namespace",
    "pod": f"{PREFIX}pod-name",
    "uid": f"{PREFIX}pod-uid",
    "container": f"{PREFIX}container",
    "attempt": f"{PREFIX}attempt",
    "crashes": f"{PREFIX}crashes",
    "digest": f"{PREFIX}digest",
    "grace": f"{PREFIX}grace",
}
NAME = ("node", "namespace", "pod", "uid", "container", "attempt")  # of a container: no two of them at once
STATES: dict[str, State] = {"created": "created", "running": "running", "paused": "running", "restarting": "running"}
HOSTNAME_CHARACTERS = 63  # what Linux takes, as the kubelet cuts it
SEARCH = ("svc.cluster.local", "cluster.local")
RESOLVER = ["ndots:5", "edns0"]  # resolv.conf(5): as Kubernetes; and answers of over 512 bytes without TCP
NEVER = "0001-01-01T00:00:00Z"  # how dockerd writes that something has not happened


class DockerDriver:
    """Containers of the dockerd at `socket`; `dns` are the name servers that they ask.

    They join its network `network`, or, when that is "", the one that edged makes for `pods`, the node's range as it is now;
    `told` hears of it when that cannot be.

    Only containers with this node's label are seen and touched: several nodes may share a dockerd. The pod's address is the
    container's, so it is known when it runs and is another one after a restart.
    """

    name = "docker"

    def __init__(
        self,
        node: str,
        *,
        socket: str = SOCKET,
        network: str = "",
        pods: Callable[[], str] = str,
        told: Callable[[str], Awaitable[None]] = unheard,
        dns: Sequence[str] = (),
    ) -> None:
        self._dockerd = Dockerd(socket)
        self._node, self._network, self._dns = node, network, list(dns)
        self._pods = PodNetwork(self._dockerd, node, pods, told)

    async def version(self) -> str:
        """`docker://` and the version of dockerd."""
        found: JSON = await self._dockerd.call(lambda client: client.version())
        return f"docker://{found['Version']}"

    def address(self, uid: str) -> str | None:
        """Not known before: dockerd gives it when a container starts."""
        return None

    async def containers(self, uid: str | None = None) -> list[Observed]:
        """The containers with this node's label, and this pod's."""
        labels = [f"{LABELS['node']}={self._node}"] + ([f"{LABELS['uid']}={uid}"] if uid is not None else [])
        found: list[JSON] = await self._dockerd.call(lambda client: client.containers(all=True, filters={"label": labels}))
        seen = []
        for one in found:
            with suppress(NotFoundError):  # removed since
                seen.append(observed(await self._dockerd.call(partial(_inspect, one["Id"]))))
        ours = [one for one in seen if one is not None]
        return sorted(ours, key=lambda one: (one.identity.uid, one.identity.container, one.identity.attempt))

    async def pull(self, image: str, policy: str) -> None:
        """Pull when the image is not here; by policy Always first, falling back to the one that is here.

        The kubelet has no such fallback: a node that is offline would then not start again what it ran before.
        """
        here = await self._has(image)
        if policy == "Never" and not here:
            raise InvalidError(f'Container image "{image}" is not present with pull policy of Never')
        if policy == "Never" or (here and policy != "Always"):
            return
        try:
            await self._pull(image)
        except InvalidError:
            if not here:
                raise

    async def create(self, spec: ContainerSpec) -> str:
        """Create it, labelled, its logs bounded. Its name tells the attempt, so dockerd refuses a second one."""
        network = "host" if spec.host_network else self._network or await self._pods.name()
        try:
            made: JSON = await self._dockerd.ask(
                lambda client: client.create_container(**self._creation(client, spec, network))
            )
        except ConflictError as error:
            raise AlreadyExistsError(str(error)) from error
        except NotFoundError as error:
            raise InvalidError(str(error)) from error
        return str(made["Id"])

    async def start(self, container: str) -> None:
        """Start it. dockerd keeps in the container's state why it could not."""
        try:
            await self._dockerd.ask(lambda client: client.start(container))
        except (InvalidError, NotFoundError, ConflictError) as error:
            seen = observed(await self._dockerd.call(partial(_inspect, container)))
            if seen is None or seen.reason != START_REASON:
                raise UnreachableError(str(error)) from error

    async def terminate(self, container: str) -> None:
        """The image's stop signal, else SIGTERM."""
        with suppress(NotFoundError, ConflictError):  # gone, or ended
            found: JSON = await self._dockerd.call(partial(_inspect, container))
            number = found["Config"].get("StopSignal") or "SIGTERM"
            await self._dockerd.call(lambda client: client.kill(container, number))

    async def kill(self, container: str) -> None:
        """SIGKILL."""
        with suppress(NotFoundError, ConflictError):
            await self._dockerd.call(lambda client: client.kill(container))

    async def remove(self, container: str) -> None:
        """Remove it with its anonymous volumes."""
        try:
            await self._dockerd.call(lambda client: client.remove_container(container, v=True))
        except NotFoundError:
            return
        except ConflictError as error:  # it runs, or dockerd is removing it
            seen = observed(await self._dockerd.call(partial(_inspect, container)))
            if seen is not None and seen.state == "running":
                raise InvalidError(str(error)) from error
        await self._pods.tidy()

    async def logs(self, container: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        """The log as dockerd keeps it (json-file)."""
        query = {
            "stdout": "1",
            "stderr": "1",
            "follow": str(int(options.follow)),
            "timestamps": str(int(options.timestamps)),
            "tail": str(options.tail) if options.tail >= 0 else "all",
            "since": f"{options.since:.9f}",
        }
        frames = LogFrames()
        async with aclosing(self._dockerd.stream(f"/containers/{container}/logs", query)) as pieces:
            async for piece in pieces:
                if text := frames.feed(piece):
                    yield text

    async def watch(self, changed: Callable[[str | None], None]) -> NoReturn:
        """Follow dockerd's events, a JSON line each. Their end means that dockerd is away."""
        filters = {"type": ["container"], "label": [f"{LABELS['node']}={self._node}"], "event": ["die", "destroy"]}
        rest = b""
        try:
            async with aclosing(self._dockerd.stream("/events", {"filters": json.dumps(filters)})) as pieces:
                async for piece in pieces:
                    if not piece:
                        changed(None)
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        changed(json.loads(line)["Actor"]["Attributes"].get(LABELS["uid"]))
        finally:
            self._dockerd.close()  # it may return as another version: ask it again
        raise UnreachableError("docker: its events ended")

    def close(self) -> None:
        """Let go of the connections to dockerd."""
        self._dockerd.close()

    def _creation(self, client: "APIClient", spec: ContainerSpec, network: str) -> dict[str, Any]:
        identity = spec.identity
        published = [] if spec.host_network else [port for port in spec.ports if port.host_port]
        bindings: dict[int | str, list[tuple[str, int | None]]] = {}
        for port in published:
            bindings.setdefault(f"{port.container_port}/{port.protocol.lower()}", []).append((port.host_ip, port.host_port))
        host = client.create_host_config(
            network_mode=network,
            port_bindings=bindings,
            mem_limit=spec.memory,
            nano_cpus=None if spec.cpu is None else int(spec.cpu * 1e9),
            dns=self._dns or None,
            dns_search=[f"{identity.namespace}.{SEARCH[0]}", *SEARCH] if self._dns else None,
            dns_opt=RESOLVER if self._dns else None,
            log_config=self._dockerd.sdk.types.LogConfig(
                type="json-file", config={"max-size": str(LOG_FILE_BYTES), "max-file": str(LOG_FILES)}
            ),
        )
        return {
            "image": spec.image,
            "entrypoint": list(spec.command) or None,
            "command": list(spec.args) or None,
            "environment": spec.env,
            "working_dir": spec.working_dir or None,
            "hostname": None if spec.host_network else spec.hostname[:HOSTNAME_CHARACTERS] or None,
            "ports": [(port.container_port, port.protocol.lower()) for port in published],
            "host_config": host,
            "labels": {label: str(getattr(identity, field)) for field, label in LABELS.items()},
            "name": "_".join(("edged", *(str(getattr(identity, field)) for field in NAME))),
        }

    async def _has(self, image: str) -> bool:
        try:
            await self._dockerd.ask(lambda client: client.inspect_image(image))  # type: ignore[no-untyped-call]
        except NotFoundError:
            return False
        return True

    async def _pull(self, image: str) -> None:
        def pull(client: "APIClient") -> list[str]:
            return [line["error"] for line in client.pull(image, stream=True, decode=True) if "error" in line]

        try:
            errors = await self._dockerd.ask(pull, long=True)
        except (InvalidError, NotFoundError) as error:
            raise InvalidError(f'image "{image}": {error}') from error
        if errors:
            raise InvalidError(f'image "{image}": {errors[-1]}')


def _inspect(container: str, client: "APIClient") -> JSON:
    found: JSON = client.inspect_container(container)
    return found


def observed(found: JSON) -> Observed | None:
    """A container as the worker sees it, out of dockerd's `inspect`; None when it is not ours, or is being removed."""
    labels = found["Config"].get("Labels") or {}
    try:
        identity = msgspec.convert({field: labels[label] for field, label in LABELS.items()}, Identity, strict=False)
    except (KeyError, msgspec.ValidationError):
        return None
    state = found["State"]
    if state["Status"] == "removing":
        return None
    created = parse_time(found["Created"])
    is_ = STATES.get(state["Status"], "exited")
    failed = is_ == "created" and bool(state.get("Error"))
    ended = is_ == "exited" or failed
    started, finished = _time(state["StartedAt"]), _time(state["FinishedAt"])
    networks: list[JSON] = list((found["NetworkSettings"].get("Networks") or {}).values())
    return Observed(
        id=found["Id"],
        identity=identity,
        state="exited" if failed else is_,
        created=created,
        started=started,
        finished=max(started or created, finished or created) if ended else None,  # dockerd stamps a short life backwards
        exit_code=(START_EXIT_CODE if failed else state["ExitCode"]) if ended else None,
        reason=START_REASON if failed else "OOMKilled" if ended and state.get("OOMKilled") else "",
        message=state.get("Error") or "",
        address=networks[0].get("IPAddress", "") if networks else "",
        image_id=found["Image"],
    )


def _time(text: str) -> float | None:
    return None if text == NEVER else parse_time(text)
