"""The first words of a client, read before it is known whom they are for: a header of its HTTP/1.1 request (RFC 9112)."""

import trio

MAX_HEAD = 16 << 10  # bytes of a request's head that are read: twice what most servers take
PEEK_S = 5.0  # for the client to say them; one that is slower is served by its address, and nobody waits for it meanwhile
END = b"\r\n\r\n"


async def head_of(client: trio.SocketStream) -> bytes:
    """What the client says up to the end of the first request's head, or what of it came within MAX_HEAD and PEEK_S."""
    head = bytearray()
    with trio.move_on_after(PEEK_S):
        while END not in head and len(head) < MAX_HEAD:
            data = await client.receive_some(MAX_HEAD - len(head))
            if not data:
                break
            head += data
    return bytes(head)


def header(head: bytes, name: str) -> str | None:
    """The value of the header `name` (lower case) in the head of a request; None when it has none, or is no request."""
    lines = head.partition(END)[0].split(b"\r\n")[1:]
    pairs = (line.partition(b":") for line in lines)
    found = next((value for key, colon, value in pairs if colon and key.lower() == name.encode("latin-1", "replace")), None)
    return None if found is None else found.strip(b" \t").decode("latin-1")
