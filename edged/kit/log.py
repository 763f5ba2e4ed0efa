"""Log records: one JSON line each on stderr, pleasant lines on a terminal. Ids are bound once; secrets are never passed in."""

import datetime
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
REPEAT_S = 60.0  # what a library says again sooner is left out: trio, out of files, says so ten times a second


class Log:
    """Writes records of at least `level` to `stream` with the ids bound to it (node, peer, pod, device).

    `bind` makes a child with more ids. A record is `{"time","level","message", ids...}`.
    """

    def __init__(self, *, level: str = "info", stream: TextIO | None = None, **ids: str) -> None:
        if level not in LEVELS:
            raise ValueError(f"log level {level!r}: expected one of {', '.join(LEVELS)}")
        self._least = LEVELS[level]
        self._level = level
        self._stream = sys.stderr if stream is None else stream
        self._person = self._stream.isatty()
        self._ids = ids

    def bind(self, **ids: str) -> "Log":
        """A log that adds `ids` to each record."""
        return Log(level=self._level, stream=self._stream, **{**self._ids, **ids})

    def debug(self, message: str) -> None:
        """For whoever debugs this program."""
        self._write("debug", message)

    def info(self, message: str) -> None:
        """What happened, rarely enough to be read."""
        self._write("info", message)

    def warning(self, message: str) -> None:
        """Something is away or refused; the text says what will be done about it."""
        self._write("warning", message)

    def error(self, message: str) -> None:
        """Something was lost or cannot go on without a person."""
        self._write("error", message)

    def _write(self, level: str, message: str) -> None:
        if LEVELS[level] < self._least:
            return
        now = datetime.datetime.now(datetime.UTC)
        if self._person:
            ids = " ".join(f"{key}={value}" for key, value in self._ids.items())
            line = f"{now.astimezone():%H:%M:%S} {level:7} {message}  {ids}".rstrip()
        else:
            line = json.dumps({"time": now.isoformat(timespec="milliseconds"), "level": level, "message": message, **self._ids})
        self._stream.write(line + "\n")
        self._stream.flush()


@contextmanager
def libraries(log: Log) -> Iterator[None]:
    """Inside, what libraries log from warnings on are records of `log`: without tracebacks, repetitions every REPEAT_S."""
    handler = _Libraries(log)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


class _Libraries(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log, self._said, self._since = log, "", 0.0

    def emit(self, record: logging.LogRecord) -> None:
        said = f"{record.name}: {record.getMessage()}"
        if said != self._said or record.created - self._since >= REPEAT_S:
            self._said, self._since = said, record.created
            self._log.warning(said)
