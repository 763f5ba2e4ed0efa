"""`edged backup`, `edged restore`: the node's store in one file, and the way back.

Both work on the files themselves: a backup beside a running daemon, which takes no notice; a restore in its absence.
"""
# ruff: noqa: PLC0415  the store takes a while to import, and most commands need none

import argparse
import contextlib
import datetime
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edged import config
from edged.cli import exits
from edged.cli.fleet import STANDARD
from edged.errors import InvalidError, StorageError
from edged.kit.files import PRIVATE_FILE, alone


def backup(arguments: argparse.Namespace) -> int:
    """`edged backup`: write the store into a file, whole or not at all."""
    from edged.identity.node import Identity
    from edged.store.backup import snapshot

    state_dir = config.load(arguments.config, os.environ).state_dir
    node = Identity.load(state_dir).name
    to_stdout = arguments.file == STANDARD
    if to_stdout and sys.stdout.isatty():
        raise InvalidError("a backup is nothing to read: name a file, or redirect stdout")
    with _draft(state_dir if to_stdout else arguments.file.absolute().parent, arguments.file) as draft:
        snapshot(state_dir / config.STORE, draft, node=node, now=_now(), with_key=arguments.with_key)
        if to_stdout:
            with draft.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
        else:
            size = draft.stat().st_size
            draft.replace(arguments.file)
            secrets = "with the key of its secrets: keep it safe" if arguments.with_key else "without the key of its secrets"
            sys.stdout.write(f"{arguments.file}: the store of {node}, {size:,} bytes, {secrets}\n")
    return exits.OK


def restore(arguments: argparse.Namespace) -> int:
    """`edged restore`: put a backup in the place of the store, which is kept aside."""
    from edged.store.backup import receive
    from edged.store.backup import restore as put

    state_dir = config.load(arguments.config, os.environ).state_dir
    store = state_dir / config.STORE
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(alone(state_dir))
        except StorageError as error:
            raise StorageError(f"{state_dir}: the daemon works in it: stop it, then restore") from error
        receive(store, stack.enter_context(_source(arguments.file)))
        try:
            done = put(store, os.urandom, _now())
        except InvalidError as error:
            raise InvalidError(f"{arguments.file}: {error}; nothing is changed") from error
    locked = f", of which {done.locked} secrets do not open without their key and come from peers" if done.locked else ""
    kept = f"; what was there is kept as {done.aside}" if done.aside else ""
    sys.stdout.write(f"{store}: what {done.node} had at {done.made}, {done.registers} registers{locked}{kept}\n")
    return exits.OK


@contextlib.contextmanager
def _draft(directory: Path, name: Path) -> Iterator[Path]:
    """A private empty file `name`.new in a directory, which is gone afterwards unless it was renamed."""
    if name == STANDARD:
        descriptor, made = tempfile.mkstemp(prefix=f"{config.STORE}.backup-", dir=directory)
        draft = Path(made)
    else:
        draft = directory / f"{name.name}.new"
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    os.close(descriptor)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)
        draft.with_name(f"{draft.name}-journal").unlink(missing_ok=True)


@contextlib.contextmanager
def _source(path: Path) -> Iterator[BinaryIO]:
    if path == STANDARD:
        yield sys.stdin.buffer
        return
    with path.open("rb") as file:
        yield file


def _now() -> float:
    return datetime.datetime.now(datetime.UTC).timestamp()
