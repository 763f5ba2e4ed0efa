"""What is said to an HTTP proxy that is to let us through: CONNECT (RFC 9110, section 9.3.6). Pure."""

import h11

from edged.errors import DeniedError, ProtocolError
from edged.kit.address import Address
from edged.kit.proxy import Proxy

MAX_HEAD = 16 << 10  # bytes of the proxy's answer
REFUSED = (401, 403, 407)  # it may, and will not: no hurry to ask again


class Connect:
    """The dialogue with a proxy that is to connect us to `target`; after it the connection is the target's."""

    def __init__(self, proxy: Proxy, target: Address) -> None:
        self._proxy = proxy
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        headers = [("Host", str(target))]
        if proxy.authorization:
            headers.append(("Proxy-Authorization", proxy.authorization))
        request = h11.Request(method="CONNECT", target=str(target), headers=headers)
        self.request = (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")

    def receive(self, data: bytes) -> bool:
        """Bytes of the proxy, none at its end: whether we are connected.

        DeniedError when it will not let us through, ProtocolError when it cannot or does not say so in HTTP.
        """
        if not data:
            raise ProtocolError(f"proxy {self._proxy} closed the connection")
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
            while isinstance(event, h11.InformationalResponse):
                event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise ProtocolError(f"proxy {self._proxy} speaks no HTTP: {error}") from error
        if event is h11.NEED_DATA:
            return False
        if not isinstance(event, h11.Response):
            raise ProtocolError(f"proxy {self._proxy} speaks no HTTP that we understand")
        if not 200 <= event.status_code < 300:
            self._refused(event)
        if self._http.trailing_data[0]:
            raise ProtocolError(f"proxy {self._proxy} sends bytes that the relay, which is to be asked first, did not")
        return True

    def _refused(self, answer: h11.Response) -> None:
        why = " ".join((str(answer.status_code), answer.reason.decode("latin-1")[:100])).strip()
        text = f"proxy {self._proxy} ({self._proxy.source}) refuses: {why}"
        if answer.status_code == 407:
            text += ": it wants another user or password" if self._proxy.authorization else ": it wants a user and a password"
        raise DeniedError(text) if answer.status_code in REFUSED else ProtocolError(text)
