"""`edged cleanup`: takes away what a daemon that was killed left in the host."""
# ruff: noqa: PLC0415  the mesh takes a while to import, and the other commands do not need it

import argparse
import os
from contextlib import nullcontext

from edged import config
from edged.cli import exits
from edged.kit.files import alone


def cleanup(arguments: argparse.Namespace) -> int:
    """`edged cleanup`: no rules, no interface and no file of ours are left in the host. StorageError while a daemon runs."""
    settings = config.load(arguments.config, os.environ)
    if os.geteuid() != 0:
        return exits.OK  # without root there never was anything
    import trio

    from edged.mesh import kernel
    from edged.mesh.hostdns import HostDns

    with alone(settings.state_dir) if settings.state_dir.exists() else nullcontext():
        trio.run(HostDns().clean_up)
        trio.run(kernel.clean_up)
    return exits.OK
