"""Tables on a terminal, and as plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """Rows of text under a head."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def show(tables: Iterable[Table], *, marked: Callable[[Sequence[str]], bool]) -> None:
    """Print tables; a row that is `marked` stands out on a terminal."""
    if not sys.stdout.isatty():
        sys.stdout.write("".join(f"{line}\n" for table in tables for line in plain(table)))
        return
    from rich import box, console, table  # noqa: PLC0415  only a person needs it

    screen = console.Console(highlight=False)
    for part in tables:
        shown = table.Table(*part.head, show_header=any(part.head), box=box.SIMPLE_HEAD if any(part.head) else None)
        for row in part.rows:
            shown.add_row(*row, style="yellow" if marked(row) else None)
        screen.print(shown)


def plain(table: Table) -> list[str]:
    """A table as lines."""
    rows = [table.head, *table.rows] if any(table.head) else table.rows
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
