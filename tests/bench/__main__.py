"""`build/bench`: run a benchmark, print its figures."""

import argparse
import importlib
import sys

from build import machine
from build.fleet import FailedError

NAMES = ("idle", "start", "call")


def main() -> int:
    parser = argparse.ArgumentParser(prog="build/bench", description="Measures on this machine. See tests/bench/README.md.")
    parser.add_argument("names", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--json", action="store_true", help="one JSON line a figure")
    options = parser.parse_args()
    machine.end_on_signals()
    for name in options.names:
        try:
            for figure in importlib.import_module(f"tests.bench.{name}").bench():
                sys.stdout.write((figure.json() if options.json else figure.text()) + "\n")
                sys.stdout.flush()
        except FailedError as error:
            sys.stderr.write(f"bench {name}: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
