"""pushMethod mqtt: a report a message, as JSON (see Document), on the bus's client.

Published with QoS 1 whatever the manifest says: with 0 a broker does not say that it has a message, and a repeat, which
QoS 2 would spare, is known by its id.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from edged.device.bus.client import Broker, MqttConnection, Publish, connected
from edged.device.push.parcels import Credentials, Parcel, Target, document, encode
from edged.device.push.web import tls_context
from edged.errors import InvalidError
from edged.kit.broker import parse_broker

MAX_PAYLOAD = (256 << 20) - (1 << 17)  # bytes: a packet has 256 MB with its topic (MQTT 3.1.1, section 2.2.3)


@asynccontextmanager
async def mqtt_sender(target: Target, credentials: Credentials, node: str, client_id: str) -> AsyncIterator["MqttSender"]:
    """A Sender to one broker, connected. UnreachableError, DeniedError."""
    address, secure = parse_broker(target.url)
    tls = tls_context(credentials.ca) if secure else None
    broker = Broker(address, tls, credentials.user, credentials.password)
    async with connected(broker, client_id) as connection:
        yield MqttSender(connection, node)


class MqttSender:
    """A Sender on a connection, which others open and close."""

    def __init__(self, connection: MqttConnection, node: str) -> None:
        self._connection, self._node = connection, node

    async def send(self, parcels: Sequence[Parcel]) -> int:
        """All of them, in order; see Sender."""
        publishes = [
            Publish(parcel.route.topic, encode(document(parcel, self._node)), 1, parcel.route.retained) for parcel in parcels
        ]
        if any(len(each.payload) > MAX_PAYLOAD for each in publishes):
            raise InvalidError(f"a message of more than {MAX_PAYLOAD} bytes")
        await self._connection.publish_all(publishes)
        return 0
