"""Between SQLite and the disk: sees each operation on the files of a directory, and may refuse it with an error code.

The store, its connections and SQLite's own code for files run as they are: while a tap is open, the table of functions of
each file of the directory (sqlite.org/c3ref/io_methods.html) is a copy whose entries ask the tap first. A VFS written with
apsw will not do: it can only fail by raising, and apsw raises that even where SQLite took no notice, as when it
copies its log back after a commit.
"""

import ctypes
import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import apsw

REAL = "unix"
LOG_PAGES = 12  # after which SQLite copies its log into the database: often


class Operation(NamedTuple):
    """What SQLite is about to do. `kind` is open, delete, read, write, truncate, sync or size; `at` an offset or a size."""

    kind: str
    name: str
    at: int = 0
    data: bytes = b""
    flags: int = 0


Refusal = int | None  # SQLite's error code, or None: go on
Tap = Callable[[Operation], Refusal]

_P, _INT, _I64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_NAMES = ("close", "read", "write", "truncate", "sync", "size", "lock", "unlock", "reserved", "control", "sector", "traits")
_LATER = ("shm_map", "shm_lock", "shm_barrier", "shm_unmap", "fetch", "unfetch")
_SIGNATURES = {
    "read": (_INT, _P, _P, _INT, _I64),
    "write": (_INT, _P, _P, _INT, _I64),
    "truncate": (_INT, _P, _I64),
    "sync": (_INT, _P, _INT),
    "size": (_INT, _P, _P),
}
# A name is an address, not a string: SQLite keeps it, and finds more behind its end.
_OPEN = ctypes.CFUNCTYPE(_INT, _P, _P, _P, _INT, _P, use_errno=True)
_DELETE = ctypes.CFUNCTYPE(_INT, _P, _P, _INT, use_errno=True)


class _Methods(ctypes.Structure):
    """`sqlite3_io_methods`, version 3."""

    _fields_ = [("version", _INT), *((name, _P) for name in (*_NAMES, *_LATER))]


class _Vfs(ctypes.Structure):
    """The beginning of `sqlite3_vfs`."""

    _fields_ = [
        *(("version", _INT), ("file_size", _INT), ("longest", _INT), ("next", _P), ("name", _P), ("data", _P)),
        *(("open", _P), ("delete", _P)),
    ]


@contextmanager
def tapped(directory: Path, tap: Tap, *, log_pages: int = LOG_PAGES) -> Iterator[None]:
    """Files of `directory` that are opened inside ask `tap` about each operation."""

    def shorten(connection: apsw.Connection) -> None:
        connection.wal_autocheckpoint(log_pages)

    connection = apsw.Connection("", vfs=REAL)
    vfs = _Vfs.from_address(_pointer(connection, apsw.SQLITE_FCNTL_VFS_POINTER))
    patch = _Patch(vfs, directory, tap)
    apsw.connection_hooks.append(shorten)
    try:
        yield
    finally:
        apsw.connection_hooks.remove(shorten)
        patch.undo()
        connection.close()


def _pointer(connection: apsw.Connection, control: int) -> int:
    found = _P()
    assert connection.file_control("main", control, ctypes.addressof(found))
    assert found.value is not None
    return found.value


class _Patch:
    """Everything that SQLite points to while a tap is open. A file that outlives it is not asked about any more."""

    def __init__(self, vfs: _Vfs, directory: Path, tap: Tap) -> None:
        self._vfs, self._directory = vfs, directory
        self._tap: Tap | None = tap
        self._real_open, self._real_delete = _OPEN(vfs.open), _DELETE(vfs.delete)
        self._before = (vfs.open, vfs.delete)
        self._open_hook, self._delete_hook = _OPEN(self._open), _DELETE(self._delete)
        vfs.open = ctypes.cast(self._open_hook, _P).value
        vfs.delete = ctypes.cast(self._delete_hook, _P).value
        self._methods: dict[tuple[str, int], _Methods] = {}
        _KEPT.append(self)

    def undo(self) -> None:
        self._vfs.open, self._vfs.delete = self._before
        self._tap = None

    def ask(self, operation: Operation) -> Refusal:
        return None if self._tap is None else self._tap(operation)

    def _open(self, vfs: int, name: int | None, file: int, flags: int, out: int) -> int:
        path = Path(ctypes.string_at(name).decode()) if name else None
        if path is None or path.parent != self._directory:
            return self._real_open(vfs, name, file, flags, out)
        refused = self.ask(Operation("open", path.name, flags=flags))
        if refused is not None:
            _P.from_address(file).value = None  # no methods: it is not open
            return refused
        code = self._real_open(vfs, name, file, flags, out)
        if code == apsw.SQLITE_OK:
            methods = _P.from_address(file)
            methods.value = ctypes.addressof(self._methods_of(path.name, methods.value or 0))
        return code

    def _delete(self, vfs: int, name: int, synced: int) -> int:
        path = Path(ctypes.string_at(name).decode())
        refused = self.ask(Operation("delete", path.name, synced)) if path.parent == self._directory else None
        return self._real_delete(vfs, name, synced) if refused is None else refused

    def _methods_of(self, name: str, real: int) -> _Methods:
        there = self._methods.get((name, real))
        if there is not None:
            return there
        methods = self._methods[name, real] = _Methods.from_buffer_copy(_Methods.from_address(real))
        for kind, signature in _SIGNATURES.items():
            prototype = ctypes.CFUNCTYPE(*signature, use_errno=True)
            hook = prototype(_hook(self, kind, name, prototype(getattr(methods, kind))))
            setattr(methods, kind, ctypes.cast(hook, _P).value)
            _KEPT.append(hook)
        return methods


_KEPT: list[Any] = []  # what C code points to must stay where it is as long as the process runs


def _hook(patch: _Patch, kind: str, name: str, real: Callable[..., int]) -> Callable[..., int]:
    """The function that stands in for one of a file's."""

    def operation(arguments: tuple[int, ...]) -> Operation:
        match kind:
            case "write":
                return Operation(kind, name, arguments[2], ctypes.string_at(arguments[0], arguments[1]))
            case "read":
                return Operation(kind, name, arguments[2])
            case "truncate":
                return Operation(kind, name, arguments[0])
        return Operation(kind, name)

    def hook(file: int, *arguments: int) -> int:
        refused = patch.ask(operation(arguments))
        return real(file, *arguments) if refused is None else refused

    return hook


def refuse(error: int, code: int) -> int:
    """What a tap returns to fail as the disk does: `code` is SQLite's, `error` what `errno` is set to."""
    ctypes.set_errno(error)
    return code


CODES = {
    "open": apsw.SQLITE_CANTOPEN,
    "delete": apsw.SQLITE_IOERR_DELETE,
    "read": apsw.SQLITE_IOERR_READ,
    "write": apsw.SQLITE_IOERR_WRITE,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "size": apsw.SQLITE_IOERR_FSTAT,
}


def code(kind: str, error: int) -> int:
    """What SQLite's own VFS makes of an errno (os_unix.c)."""
    return apsw.SQLITE_FULL if (kind, error) == ("write", errno.ENOSPC) else CODES[kind]
