"""`edged cleanup`: takes away what a daemon that was killed left in the host."""
# ruff: noqa: PLC0415  the mesh takes a while to import, and the other commands do not need it

import argparse
import os
import sys
from contextlib import nullcontext
from pathlib import Path

from edged import config
from edged.cli import exits
from edged.errors import InvalidError, UnreachableError
from edged.kit.files import alone


def cleanup(arguments: argparse.Namespace) -> int:
    """`edged cleanup`: no rules, no interface and no file of ours are left in the host. StorageError while a daemon runs.

    Nor a Docker network, unless containers run on it: they go on.
    """
    settings = config.load(arguments.config, os.environ)
    if os.geteuid() != 0:
        return exits.OK  # without root there never was anything
    import trio

    from edged.mesh import kernel
    from edged.mesh.hostdns import HostDns

    with alone(settings.state_dir) if settings.state_dir.exists() else nullcontext():
        trio.run(HostDns().clean_up)
        trio.run(kernel.clean_up)
        _remove_networks(settings)
    return exits.OK


def _remove_networks(settings: config.Config) -> None:
    """Docker may have been stopped before us: its networks wait for the next time."""
    import trio

    from edged.identity.node import Identity
    from edged.runtime import podnetwork

    socket = Path(settings.runtime.docker_socket)
    if settings.runtime.driver == "process" or not socket.is_socket():
        return
    try:
        trio.run(podnetwork.clean_up, str(socket), Identity.load(settings.state_dir).name)
    except UnreachableError as error:
        print(f"the Docker network of pods stays: {error}", file=sys.stderr)
    except InvalidError:
        return  # who never joined a fleet made no network
