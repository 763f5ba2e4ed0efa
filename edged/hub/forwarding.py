"""Speaks UDP with the relay, a shell around `relayudp.RelayUdp`: what links want is asked, what comes of it is told."""

import math
from collections.abc import Callable, Collection
from random import Random

import trio

from edged.hub.relaylink import RelayLink
from edged.hub.relayspeech import Welcomed
from edged.hub.relayudp import Event, Forwards, RelayUdp
from edged.kit.address import Address
from edged.kit.udp import UdpSocket

INQUIRE_S = 3.0  # for an answer, which a satellite takes a second for: four questions in that time


class Forwarding:
    """The node's UDP with the relay, whichever takes us.

    `wanting` are the nodes whose links want it now. `observed` is called when our addresses as the relay sees them change,
    `forwards` when an address begins or ceases to lead to a node through the relay.
    """

    def __init__(
        self,
        udp: UdpSocket,
        relay: RelayLink,
        *,
        wanting: Callable[[], Collection[str]],
        observed: Callable[[], None],
        forwards: Callable[[str, Address | None], None],
        random: Random,
    ) -> None:
        self._udp, self._relay = udp, relay
        self._wanting, self._tell_observed, self._tell_forwards = wanting, observed, forwards
        self._core = RelayUdp(random)
        self._due = math.inf
        self._sleep = trio.CancelScope()
        self._answered = trio.Event()

    @property
    def observed(self) -> tuple[Address, ...]:
        """Our addresses as the relay sees them; two of one family mean a NAT whose mapping varies by destination."""
        return self._core.observed

    @property
    def blocked(self) -> bool:
        """Whether the relay has UDP and none of it reaches us."""
        return self._core.blocked

    @property
    def asks(self) -> bool:
        """Whether there is a relay that takes us and speaks UDP, with which our socket can speak."""
        return self._core.asks

    @property
    def rtt(self) -> float | None:
        """Seconds to the relay and back by UDP."""
        return self._core.rtt

    async def inquire(self) -> None:
        """Ask the relay anew how it sees us, whether links want it or not; returns when it has answered, or will not."""
        began = trio.current_time()
        self._core.inquire(on=True, now=began)
        self._act([])
        try:
            with trio.move_on_after(INQUIRE_S):
                while not self._core.answered_since(began):
                    await self._answered.wait()
        finally:
            self._core.inquire(on=False, now=trio.current_time())
            self._act([])

    def address(self, node: str) -> Address | None:
        """The address that leads to `node` through the relay."""
        return self._core.forwarding(node)

    def welcomed(self, welcome: Welcomed) -> None:
        """The relay takes us."""
        told = self._core.welcomed(self._relay.udp_host, welcome.session, welcome.udp, welcome.udp_key, trio.current_time())
        self._act(told)

    def lost(self) -> None:
        """No relay takes us."""
        self._act(self._core.lost())

    def allotted(self, node: str, port: int) -> None:
        """The relay's port for a known node, 0: none."""
        self._act(self._core.allotted(node, port, trio.current_time()))

    def parted(self, node: str) -> None:
        """The node left the relay, or came to it anew."""
        self._act(self._core.parted(node, trio.current_time()))

    def check(self, node: str) -> None:
        """The address that leads to the node does so no more, as it seems."""
        self._core.check(node, trio.current_time())

    def moved(self) -> None:
        """This machine has other addresses than before."""
        self._core.moved(trio.current_time())
        self.look()

    def look(self) -> None:
        """What links want may have changed."""
        self._act([])

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """An answer of the relay came by UDP. ProtocolError when it is none."""
        self._act(self._core.receive(data, source, now))
        self._answered.set()
        self._answered = trio.Event()

    async def run(self) -> None:
        """Ask when it is time, until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._due) as self._sleep:
                await trio.sleep_forever()
            self._act([])

    def _act(self, events: list[Event]) -> None:
        now = trio.current_time()
        self._core.want(self._wanting(), now)
        for event in events + self._core.tick(now):
            if isinstance(event, Forwards):
                self._tell_forwards(event.node, event.address)
            else:
                self._tell_observed()
        for address, question in self._core.outgoing():
            self._udp.send(address, (question,))
        for node in self._core.allots():
            self._relay.allot(node)
        self._due = self._sleep.deadline = self._core.deadline()
