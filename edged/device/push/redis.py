"""pushMethod dbMethod.redis: a sorted set a device, scored by time, as KubeEdge's mappers have it. A shell on redis-py.

A member is a reading as JSON, with KubeEdge's names, the node and the report's id: a repeat is the same member.
"""

from collections.abc import Callable, Sequence
from typing import Any

import trio

from edged.device.push.parcels import TIMEOUT_S, Credentials, Parcel, Target, encode
from edged.device.readings import Reading
from edged.errors import DeniedError, InvalidError, UnreachableError
from edged.kit.address import parse_address

LATER = ("LOADING", "BUSY", "OOM", "TRYAGAIN", "MASTERDOWN", "CLUSTERDOWN", "MISCONF", "READONLY")  # errors that pass


class RedisSender:
    """A Sender to one database. A call that is cancelled leaves its thread to end by itself, within TIMEOUT_S."""

    def __init__(self, target: Target, credentials: Credentials, node: str) -> None:
        import redis  # noqa: PLC0415  a node that pushes to none does not pay for it

        address = parse_address(target.url)
        self._errors, self._target, self._node = redis.exceptions, target, node
        self._one = trio.CapacityLimiter(1)
        self._client = redis.Redis(
            host=address.host,
            port=address.port,
            db=int(target.names[0]),
            username=credentials.user or None,
            password=credentials.password or None,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            client_name="edged",
            protocol=2,  # RESP2: all that is needed, and what every Redis speaks
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),  # who sends tries again
        )

    async def send(self, parcels: Sequence[Parcel]) -> int:
        """All of them, in order; see Sender."""
        rows = [(each.device, member(each, reading, self._node), reading.time) for each in parcels for reading in each.readings]
        await self._thread(lambda: self._add(rows))
        return 0

    async def aclose(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _add(self, rows: Sequence[tuple[str, bytes, int]]) -> None:
        with self._client.pipeline(transaction=False) as pipeline:
            for device, text, time in rows:
                pipeline.zadd(device, {text: time})
            pipeline.execute()

    async def _thread(self, function: Callable[[], Any]) -> None:
        try:
            await trio.to_thread.run_sync(function, abandon_on_cancel=True, limiter=self._one)
        except (self._errors.AuthenticationError, self._errors.NoPermissionError) as error:
            raise DeniedError(f"{self._target} refuses us: {error}") from error
        except (self._errors.ConnectionError, self._errors.TimeoutError) as error:
            raise UnreachableError(f"{self._target} cannot be reached: {error}") from error
        except self._errors.ResponseError as error:
            text = f"{self._target} answers: {error}"
            if "WRONGTYPE" in text:
                raise InvalidError(text) from error
            raise (UnreachableError if any(word in text for word in LATER) else DeniedError)(text) from error


def member(parcel: Parcel, reading: Reading, node: str) -> bytes:
    """A reading as a member of its device's set."""
    return encode(
        {
            "DeviceName": parcel.device,
            "PropertyName": reading.property,
            "Namespace": parcel.namespace,
            "Value": reading.value,
            "Type": reading.type,
            "TimeStamp": reading.time,
            "Node": node,
            "Id": parcel.id,
        }
    )
