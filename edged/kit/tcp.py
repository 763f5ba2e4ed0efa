"""Connections by TCP, with TLS over them where it is asked for, and in words why there is none."""

import ssl

import trio

from edged.kit.address import Address

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


async def open_stream(address: Address, tls: ssl.SSLContext | None = None) -> Stream:
    """A connection to `address`, which who calls gives its deadline.

    OSError and trio.BrokenResourceError when it cannot be had, UnicodeError when the host is no name.
    """
    stream = await trio.open_tcp_stream(*address)
    return stream if tls is None else await secured(stream, tls, address.host)


async def secured(stream: trio.SocketStream, tls: ssl.SSLContext, host: str) -> trio.SSLStream[trio.SocketStream]:
    """TLS with `host` over `stream`, which is closed when there can be none: trio.BrokenResourceError."""
    over = trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)
    try:
        await over.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return over


def why(error: BaseException) -> str:
    """In words; trio wraps the errors of the addresses that it tried, and those of TLS."""
    cause = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return str(getattr(cause, "strerror", None) or cause)
