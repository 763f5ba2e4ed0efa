"""`edged run`, `edged version`."""
# ruff: noqa: PLC0415  the daemon's rooms take a while to import, and the other commands need none

import argparse
import gc
import os
import sys

from edged import __version__, config
from edged.cli import exits


def run(arguments: argparse.Namespace) -> int:
    """`edged run`: the daemon, until it is told to stop."""
    settings = config.load(arguments.config, os.environ)
    import trio

    from edged import daemon

    gc.freeze()  # what is imported stays: some 60,000 objects, at which a full collection would look for 25 ms and more
    return trio.run(daemon.run, settings)


def version(arguments: argparse.Namespace) -> int:
    """`edged version`."""
    sys.stdout.write(f"edged {__version__}\n")
    return exits.OK
