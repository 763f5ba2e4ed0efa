"""A UDP port of ours mapped by the default gateway, so that others reach it as if there were no NAT. Pure.

    gateway(host, own, now)             the default gateway, or None, and our address towards it
    receive(data, now)                  a datagram of the gateway's PCP and NAT-PMP port came in
    found(data, now)                    the gateway's answer to a search by SSDP came in
    answered(call, status, body, now)   its answer to a call; unanswered(call, now): none came
    tick(now)                           time passed
    outgoing()                          what to send to the gateway by UDP, and what to ask it by HTTP
    deadline()                          when to call tick
    mapped                              the address that leads to us; `text` says it to a person
    release()                           what to say when the node stops

All three protocols are asked at once. The first choice is PCP, which maps with one answer; NAT-PMP and then UPnP, which takes
three HTTP requests, are taken on when PCP is refused or has said nothing for PREFER_S. Nobody waits for any of it.
"""

import ipaddress
import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from edged.errors import ProtocolError
from edged.hub import pcp, upnp
from edged.hub.ways import DIRECT, kind_of
from edged.kit.address import Address

LEASE_S = 7200  # as much as RFC 6886, section 3.3, recommends
SHORTEST_S, LONGEST_S = 120, 86_400  # whatever the gateway says: nobody makes us ask all the time, or hardly ever
ASK_AT_S = (0.0, 0.1, 0.4, 1.2)  # what is not answered is sent again
PREFER_S = 0.25  # for which the other protocols wait for PCP
GIVE_UP_S = 3.0  # after the last; UPnP's calls have their own time
AGAIN_FIRST_S, AGAIN_CAP_S = 30.0, 900.0  # until the next try: after a mapping was lost, doubling; else the last one
MOST_PORTS = 4  # outer ports that are tried when others have them
FIRST_PORT, PORTS = 1024, 64512
SHARED = ipaddress.ip_network("100.64.0.0/10")  # of a carrier's NAT (RFC 6598): no more public than private ones

Protocol = Literal["PCP", "NAT-PMP", "UPnP"]


class Datagram(NamedTuple):
    """To the gateway's PCP and NAT-PMP port, or with `search` a question by SSDP, to it and to the group."""

    data: bytes
    search: bool = False


class PortMapping:
    """Of UDP `port`. `token(n)` gives n bytes that nobody can guess."""

    def __init__(self, port: int, token: Callable[[int], bytes]) -> None:
        self._port, self._token = port, token
        self._nonce = token(pcp.NONCE)
        self._gateway: str | None = None
        self._own = ""
        self._out: list[Datagram | upnp.Call] = []
        self._protocol: Protocol | None = None  # by which there is a mapping, to `_outer`
        self._outer: Address | None = None
        self._expires = math.inf
        self._ask_at = math.inf  # the next try, or renewal
        self._retry = AGAIN_CAP_S
        # The try that is going on: since when (infinity: none), how often all was sent; what is known of each protocol by now.
        self._began = math.inf
        self._sent = 0
        self._trying: Protocol = "PCP"
        self._refused = False  # by that
        self._pmp: str | None = None  # the outer address by NAT-PMP
        self._place: upnp.Place | None = None
        self._service: upnp.Service | None = None
        self._step: Literal["describe", "address", "add"] = "describe"  # of UPnP: what the call under way is for
        self._pending: upnp.Call | None = None
        self._host = ""  # the outer address by UPnP, and the outer port and lease that are asked for
        self._wish = port
        self._lease = LEASE_S
        self._ports_tried = 0

    @property
    def mapped(self) -> Address | None:
        """The address at which others reach us; None when there is none, or one that is itself behind a NAT."""
        return self._outer if self._outer is not None and _public(self._outer) else None

    @property
    def settled(self) -> bool:
        """Whether all is known that can be for now."""
        return self._began == math.inf

    @property
    def text(self) -> str:
        """What there is, for a person."""
        if self._outer is not None:
            behind = "" if _public(self._outer) else ", which is behind another NAT"
            return f"{self._protocol}: {self._outer}{behind}"
        if self._gateway is None:
            return "none: there is no gateway to ask"
        return f"none: gateway {self._gateway} offers none" if self.settled else f"asking gateway {self._gateway}"

    def gateway(self, host: str | None, own: str, now: float) -> None:
        """The default gateway, and our address on the network that is shared with it. None: there is none, or no NAT."""
        if (host, own) == (self._gateway, self._own):
            return
        self._gateway, self._own = host, own
        self._forget()
        self._retry = AGAIN_CAP_S
        self._ask_at = now if host is not None else math.inf
        self._out.clear()
        self.tick(now)

    # ---- what the gateway says

    def receive(self, data: bytes, now: float) -> None:
        """From its PCP and NAT-PMP port. ProtocolError when it answers nothing."""
        answer = pcp.opened(data, self._port, self._nonce)
        if self.settled or self._trying == "UPnP":
            raise ProtocolError("an answer that comes too late")
        if isinstance(answer, pcp.Mapped) and answer.lifetime:
            self._took("PCP", answer.address, answer.lifetime, now)
        elif isinstance(answer, pcp.PmpMapped) and answer.lifetime and self._pmp is not None:
            self._took("NAT-PMP", Address(self._pmp, answer.port), answer.lifetime, now)
        elif isinstance(answer, pcp.PmpAddress):
            self._pmp = self._pmp or answer.host
        elif isinstance(answer, pcp.Refused) and answer.pcp == (self._trying == "PCP"):
            self._refused = True
        self._go_on(now)

    def found(self, data: bytes, now: float) -> None:
        """Its answer to a search. ProtocolError when it is none, or leads elsewhere."""
        if self._gateway is None or self.settled or self._place is not None:
            raise ProtocolError("an answer to no search")
        self._place = upnp.location(data, self._gateway)
        self._go_on(now)

    def answered(self, call: upnp.Call, status: int, body: bytes, now: float) -> None:
        """Its answer to a call."""
        if call is not self._pending or self._gateway is None or self._place is None:
            return  # the gateway is another one now
        self._pending, step = None, self._step
        try:
            if step == "describe":
                self._service = upnp.service(body, self._place, self._gateway)
                self._call("address", upnp.ask_address(self._service))
            elif step == "address":
                self._host = upnp.outer_address(upnp.answered(status, body))
                self._add()
            else:
                upnp.answered(status, body)
                self._took("UPnP", Address(self._host, self._wish), self._lease or LEASE_S, now)
        except upnp.FaultError as fault:
            self._fault(fault.code, now)
        except ProtocolError:
            self._give_up(now)

    def unanswered(self, call: upnp.Call, now: float) -> None:
        """A call failed."""
        if call is self._pending:
            self._give_up(now)

    # ---- time, and what goes out

    def tick(self, now: float) -> None:
        """Time passed."""
        if self._outer is not None and now >= self._expires:
            self._protocol = self._outer = None
            self._expires = math.inf
        if now >= self._ask_at and self.settled:
            self._begin(now)
        while not self.settled and self._sent < len(ASK_AT_S) and now >= self._began + ASK_AT_S[self._sent]:
            self._ask()
        self._go_on(now)
        if not self.settled and self._pending is None and now >= self._began + GIVE_UP_S:
            self._give_up(now)

    def deadline(self) -> float:
        """When to call tick, at the latest."""
        if self.settled:
            return min(self._ask_at, self._expires)
        asks = self._began + ASK_AT_S[self._sent] if self._sent < len(ASK_AT_S) else math.inf
        if self._pending is not None:
            return min(asks, self._expires)
        prefers = self._began + PREFER_S if self._trying == "PCP" and (self._pmp or self._place) else math.inf
        return min(asks, prefers, self._began + GIVE_UP_S, self._expires)

    def outgoing(self) -> list[Datagram | upnp.Call]:
        """What to say to the gateway."""
        out, self._out = self._out, []
        return out

    def release(self) -> list[Datagram | upnp.Call]:
        """What to say so that the gateway maps nothing for us any more; no answer is needed."""
        protocol, outer = self._protocol, self._outer
        self._forget()
        self._ask_at = math.inf
        if outer is None:
            return []
        if protocol == "UPnP":
            return [upnp.delete(self._service, outer.port)] if self._service is not None else []
        pmp = protocol == "NAT-PMP"
        return [Datagram(pcp.pmp_map(self._port, 0, 0) if pmp else pcp.pcp_map(self._own, self._port, 0, 0, self._nonce))]

    # ---- a try

    def _begin(self, now: float) -> None:
        self._began, self._sent, self._ask_at = now, 0, math.inf
        self._trying, self._refused = "PCP", False
        self._pmp = self._place = self._pending = None
        self._ports_tried, self._lease = 0, LEASE_S
        self._wish = self._outer.port if self._outer is not None else self._port

    def _ask(self) -> None:
        self._sent += 1
        if self._trying == "UPnP":
            return
        if self._trying == "NAT-PMP":
            self._out.append(Datagram(pcp.pmp_map(self._port, self._wish, LEASE_S)))
        elif not self._refused:
            self._out.append(Datagram(pcp.pcp_map(self._own, self._port, self._wish, LEASE_S, self._nonce)))
        if self._pmp is None:
            self._out.append(Datagram(pcp.pmp_address()))
        if self._place is None:
            self._out.append(Datagram(upnp.search(), search=True))

    def _go_on(self, now: float) -> None:
        """Take on the next protocol, when it is time for that and it is there."""
        if self.settled:
            return
        if self._trying == "PCP" and self._pmp is not None and (self._refused or now >= self._began + PREFER_S):
            self._trying, self._refused = "NAT-PMP", False
            self._out.append(Datagram(pcp.pmp_map(self._port, self._wish, LEASE_S)))
        silent = self._trying == "PCP" and self._pmp is None and now >= self._began + PREFER_S
        if self._trying != "UPnP" and self._place is not None and (self._refused or silent):
            self._trying = "UPnP"
            self._call("describe", upnp.Call(self._place))

    def _call(self, step: Literal["describe", "address", "add"], call: upnp.Call) -> None:
        self._step, self._pending = step, call
        self._out.append(call)

    def _add(self) -> None:
        if self._service is not None:
            self._call("add", upnp.add(self._service, self._own, self._port, self._wish, self._lease))

    def _fault(self, code: int, now: float) -> None:
        """UPnP refuses: perhaps not another port, or a lease without end."""
        if code == upnp.CONFLICT and self._ports_tried < MOST_PORTS:
            self._ports_tried += 1
            self._wish = FIRST_PORT + int.from_bytes(self._token(4), "big") % PORTS
            self._add()
        elif code == upnp.PERMANENT_ONLY and self._lease:
            self._lease = 0
            self._add()
        else:
            self._give_up(now)

    def _took(self, protocol: Protocol, outer: Address, lifetime: int, now: float) -> None:
        lasts = min(max(lifetime, SHORTEST_S), LONGEST_S)
        self._protocol, self._outer = protocol, outer
        self._expires, self._ask_at = now + lasts, now + lasts / 2
        self._began, self._retry = math.inf, AGAIN_FIRST_S

    def _give_up(self, now: float) -> None:
        """Nobody maps: quietly, until the next time. A mapping that was not renewed lasts until it expires."""
        self._began, self._pending = math.inf, None
        self._ask_at = now + self._retry
        self._retry = min(2 * self._retry, AGAIN_CAP_S)

    def _forget(self) -> None:
        self._protocol = self._outer = self._pending = None
        self._began = self._expires = math.inf


def _public(address: Address) -> bool:
    ip = ipaddress.ip_address(address.host)
    return kind_of(address) == DIRECT and ip not in SHARED and not ip.is_unspecified
