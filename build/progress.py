"""Shows a person what is going on: a line a step as it ends, and a table of all of them at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console
from rich.table import Column, Table


class Step(NamedTuple):
    """One finished step: what was done, how long it took in seconds, what was seen."""

    title: str
    seconds: float
    seen: str


class Progress:
    """Steps on the terminal; a spinner turns while one runs, if a person is there to see it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps: list[Step] = []
        self.current = ""  # the title of the step that runs, or failed

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """A step; the block appends what it saw to the list it gets."""
        seen: list[str] = []
        self.current = title
        began = time.monotonic()
        with self._console.status(f"{title} ..."):
            yield seen
        step = Step(title, time.monotonic() - began, "\n".join(seen))
        self._steps.append(step)
        self._console.print(f"[green]done[/] {step.seconds:6.1f} s  {title}", highlight=False)

    def table(self) -> None:
        """All steps so far."""
        table = Table("step", "seconds", Column("what was seen", overflow="fold"))
        table.columns[1].justify = "right"
        for step in self._steps:
            table.add_row(step.title, f"{step.seconds:.1f}", step.seen)
        self._console.print(table)
