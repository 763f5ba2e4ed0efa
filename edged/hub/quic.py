"""qh3's sans-I/O half. Its package imports the other one too, asyncio and HTTP/3, which are 2 MB that no link needs."""

import sys
from importlib.util import find_spec, module_from_spec

_package = find_spec("qh3")
if _package is not None:  # else the next line says what is missing
    sys.modules.setdefault("qh3", module_from_spec(_package))  # the package, without running its __init__

from qh3.quic import events  # noqa: E402
from qh3.quic.configuration import QuicConfiguration  # noqa: E402
from qh3.quic.connection import QuicConnection, QuicConnectionError  # noqa: E402

__all__ = ["QuicConfiguration", "QuicConnection", "QuicConnectionError", "events"]
