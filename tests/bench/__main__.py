"""`build/bench`: run a benchmark, print its figures."""

import argparse
import importlib
import sys

from build import machine
from build.fleet import FailedError

NAMES = (
    *("idle", "start", "mesh", "relay", "paths", "dns", "fuzz", "device", "device_push"),
    *("sync", "reach", "join", "failover", "power", "sim"),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="build/bench", description="Measures on this machine. See tests/bench/README.md.")
    parser.add_argument("names", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--json", action="store_true", help="one JSON line a figure")
    parser.add_argument("--seeds", type=int, default=1000, metavar="N", help="of `sim`: how many schedules (default 1000)")
    parser.add_argument("--first", type=int, default=1000, metavar="SEED", help="of `sim`: the first seed (default 1000)")
    options = parser.parse_args()
    machine.end_on_signals()
    for name in options.names:
        try:
            given = {"first": options.first, "seeds": options.seeds} if name == "sim" else {}
            for figure in importlib.import_module(f"tests.bench.{name}").bench(**given):
                sys.stdout.write((figure.json() if options.json else figure.text()) + "\n")
                sys.stdout.flush()
        except FailedError as error:
            sys.stderr.write(f"bench {name}: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
