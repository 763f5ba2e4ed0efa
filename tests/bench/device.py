"""`device`: what devices and their ways out cost; its parts are the files `device_*.py`, one after the other."""

import importlib
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Figure


def bench() -> Iterator[Figure]:
    """The figures of all parts."""
    for part in sorted(Path(__file__).parent.glob("device_*.py")):
        yield from importlib.import_module(f"tests.bench.{part.stem}").bench()
