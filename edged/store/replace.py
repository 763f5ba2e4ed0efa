"""A database file taken out of service and another put into its place: no power cut leaves neither, or a mix.

A database is up to three files: `store.db`, and while it is in use `store.db-wal`, `store.db-shm`. The new one is made
whole as `store.db.new` first. Then the old one's files are renamed, the database itself before its log (SQLite would play
a log that is left behind into whatever has the name next), then the new one is. `finish` ends what a power cut interrupted.
"""

from contextlib import suppress
from pathlib import Path

from edged.kit.files import sync
from edged.model.times import compact_time

KEPT = 3  # files set aside for one reason: enough to look into what happened, and a full disk helps nobody
LOGS = ("-wal", "-shm")


def new_path(path: Path) -> Path:
    """Where the next database of `path` is made."""
    return path.with_name(f"{path.name}.new")


def discard(path: Path) -> None:
    """Remove a database and its logs, if any."""
    for suffix in ("", *LOGS):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def replace(path: Path, reason: str, now: float) -> Path:
    """Put the finished `new_path(path)` (closed, on disk) into the place of `path`.

    What was there is kept as `store.db.REASON-20261128T140000Z`; the KEPT latest of a reason are. Returns that path.
    """
    aside = path.with_name(f"{path.name}.{reason}-{compact_time(now)}")
    with suppress(FileNotFoundError):
        path.rename(aside)
    _forget_old(path, reason)
    _move_logs(path, aside)
    new_path(path).rename(path)
    sync(path.parent)
    return aside


def finish(path: Path) -> None:
    """At a start: end a replacement that was interrupted, or remove a new file that was not finished."""
    new = new_path(path)
    if not new.exists():
        return
    if path.exists():
        discard(new)
        return
    asides = sorted(_asides(path, "*"), key=lambda each: each.name.rpartition("-")[2])
    _move_logs(path, asides[-1] if asides else path.with_name(f"{path.name}.left"))
    new.rename(path)
    sync(path.parent)


def _move_logs(path: Path, aside: Path) -> None:
    for suffix in LOGS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    sync(path.parent)


def _forget_old(path: Path, reason: str) -> None:
    for old in sorted(_asides(path, reason))[:-KEPT]:
        discard(old)


def _asides(path: Path, reason: str) -> list[Path]:
    return [each for each in path.parent.glob(f"{path.name}.{reason}-*Z") if not each.name.endswith(LOGS)]
