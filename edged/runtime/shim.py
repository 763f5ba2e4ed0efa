"""The parent of one host process: `python shim.py DIRECTORY`, a small program of its own that outlives the daemon.

It imports nothing of edged, so that it stays small (10 MB, most of it shared). It runs what DIRECTORY/made.json says, writes
run.json when it runs and exit.json when it has ended, and keeps its output in bounded log files, whether or not a daemon is
there to see it. Lines are in the CRI's log format: `<RFC 3339 time> <stdout|stderr> <F|P> <text>`, P for a part of a line.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import time
from typing import Any, NoReturn

READ_BYTES = 64 << 10  # the capacity of a pipe
LINE_BYTES = 16 << 10  # a longer line is written in parts, as the kubelet's runtimes do
DRAIN_BYTES = 1 << 20  # read after the end: what was in two pipes; a process that left the group may write for ever
START_FAILED = 128  # the exit code that the kubelet shows for a command that could not be started
STARTED = "started"
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # who stops a whole control group means the container, not its log
TICKS, STATE = 19, 0  # fields of /proc/PID/stat behind the command's name: start time, state


def start_ticks(pid: int) -> int | None:
    """When a live process started, in clock ticks since boot; None when there is none (a zombie has ended).

    With the boot id it tells a process from a later one with the same number.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib would cost this program 1 MB
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[STATE] in (b"Z", b"X") else int(fields[TICKS])


def boot_id() -> str:
    """Names this boot of the machine."""
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123
        return file.read().strip()


def stamp(nanoseconds: int) -> str:
    """A time as the log has it: RFC 3339 in UTC, always nine digits, so that times compare as text."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def give_up_shelter(least: int = 0) -> None:
    """Raise this process's score with the out-of-memory killer to `least`: the daemon may have a shelter, a pod has none."""
    path = "/proc/self/oom_score_adj"
    with open(path) as file:  # noqa: PTH123
        score = int(file.read())
    if score < least:
        with open(path, "w") as file:  # noqa: PTH123
            file.write(str(least))


class Log:
    """Files `log`, `log.1`, ... in the working directory, `files` (2 or more) of at most `limit` bytes or one line each.

    A disk that refuses them loses lines, never the container; the loss is written down when the disk takes lines again.
    """

    def __init__(self, limit: int, files: int) -> None:
        self._limit, self._files = limit, files
        self._lost = 0
        self._open()

    def write(self, stream: str, parts: list[tuple[bytes, bool]]) -> None:
        """Append parts of lines of one stream; True marks the end of a line."""
        head = f"{stamp(time.time_ns())} {stream} "
        if self._lost:
            parts = [(f"({self._lost} lines lost: the disk refused them)".encode(), True), *parts]
        batch = bytearray(b"\n" if self._lost else b"")  # the last write may have been cut short
        for text, full in parts:
            entry = head.encode() + (b"F " if full else b"P ") + text + b"\n"
            if self._size + len(batch) + len(entry) > self._limit and self._size + len(batch):
                self._append(batch, len(parts))
                self._rotate()
                batch.clear()
            batch += entry
        self._append(batch, len(parts))

    def _append(self, batch: bytearray, lines: int) -> None:
        try:
            written = os.write(self._file, batch)
        except OSError:
            written = 0
        self._size += written
        self._lost = 0 if written == len(batch) else self._lost + lines

    def _rotate(self) -> None:
        names = ["log", *(f"log.{number}" for number in range(1, self._files))]
        try:
            for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(newer, older)  # noqa: PTH104
        except OSError:
            return  # a disk that refuses renames: the file grows past its limit rather than losing the line
        os.close(self._file)
        self._open()

    def _open(self) -> None:
        self._file = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size


class Lines:
    """The bytes of one stream, however they were cut, as parts of lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """The parts that are whole now: ended lines, and LINE_BYTES of a longer one."""
        *ended, self._rest = (self._rest + data).split(b"\n")
        parts: list[tuple[bytes, bool]] = []
        for line in ended:
            parts += self._cut(line)
            parts.append((self._last(line), True))
        parts += self._cut(self._rest)
        self._rest = self._last(self._rest) if len(self._rest) > LINE_BYTES else self._rest
        return parts

    def rest(self) -> list[tuple[bytes, bool]]:
        """What was printed last without an end of line."""
        return [(self._rest, False)] if self._rest else []

    @staticmethod
    def _cut(line: bytes) -> list[tuple[bytes, bool]]:
        return [(line[at : at + LINE_BYTES], False) for at in range(0, len(line) - LINE_BYTES, LINE_BYTES)]

    @staticmethod
    def _last(line: bytes) -> bytes:
        return line[(len(line) - 1) // LINE_BYTES * LINE_BYTES :] if line else line


def main(directory: str) -> int:
    """Leave a shim behind that runs the process of `directory`; return when it runs or could not be started (exit.json).

    Exit code 1 and a line on stderr say that there is no shim: there was one before, or the machine refused.
    """
    said, say = os.pipe()
    if os.fork() == 0:
        os.close(said)
        try:
            _shim(directory, say)
        except BaseException as error:  # whatever it is, nobody else can hear of it
            _say(say, f"{type(error).__name__}: {error}\n")
        finally:
            os._exit(1)
    os.close(say)
    with os.fdopen(said, "rb") as file:
        text = file.read()
    if text == STARTED.encode():
        return 0
    sys.stderr.write(text.decode(errors="replace") or "the shim ended at once\n")
    return 1


def _shim(directory: str, say: int) -> NoReturn:
    os.setsid()
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.chdir(directory)
    lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # two starts at once: one of them ends here
    if os.path.exists("run.json"):  # noqa: PTH110
        raise FileExistsError("it was started before")
    with open("made.json", "rb") as file:  # noqa: PTH123
        made: dict[str, Any] = json.load(file)
    log = Log(made["log_bytes"], made["log_files"])
    out, err = os.pipe(), os.pipe()
    child, go, refusal = _fork(made, out[1], err[1])
    _put(
        "run.json",
        {
            "boot": boot_id(),
            "pid": child,
            "ticks": start_ticks(child),
            "shim_pid": os.getpid(),
            "shim_ticks": start_ticks(os.getpid()),
            "started": time.time(),
        },
    )
    os.write(go, b"go")
    os.close(go)
    with os.fdopen(refusal, "rb") as file:
        refused = file.read().decode(errors="replace")
    for end in (out[1], err[1]):
        os.close(end)
    _quiet()
    if not refused:
        _say(say, STARTED)
    code = _keep(child, {out[0]: "stdout", err[0]: "stderr"}, log)
    if refused:
        _put("exit.json", {"code": START_FAILED, "reason": "StartError", "message": refused, "finished": time.time()})
        _say(say, STARTED)
    else:
        _put("exit.json", {"code": code, "reason": "", "message": "", "finished": time.time()})
    os._exit(0)


def _fork(made: dict[str, Any], out: int, err: int) -> tuple[int, int, int]:
    """Fork a child that waits for a word on the second descriptor, then becomes the command or says why not on the third."""
    wait, go = os.pipe()
    refusal, refuse = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        try:
            _become(made, wait, out, err)
        except BaseException as error:  # whatever it is, nobody else can hear of it
            os.write(refuse, str(error).encode())
        finally:
            os._exit(START_FAILED)
    os.close(wait)
    os.close(refuse)
    return child, go, refusal


def _become(made: dict[str, Any], wait: int, out: int, err: int) -> NoReturn:
    os.setsid()
    if not os.read(wait, 2):
        raise RuntimeError("the shim ended")
    for number in (*IGNORED, signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores the last two
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    give_up_shelter()
    null = os.open(os.devnull, os.O_RDONLY)
    for standard, descriptor in enumerate((null, out, err)):
        os.dup2(descriptor, standard)
    try:
        os.chdir(made["directory"])
    except OSError as error:
        raise RuntimeError(f'chdir "{made["directory"]}": {error.strerror}') from error
    command: list[str] = made["command"]
    try:
        os.execvpe(command[0], command, made["env"])  # noqa: S606 - that it starts without a shell is the point
    except OSError as error:
        raise RuntimeError(f'exec "{command[0]}": {error.strerror}') from error


def _keep(child: int, names: dict[int, str], log: Log) -> int:
    """Write the child's output down until it ends; then end its group. Returns its exit code, 128 + signal when killed."""
    ended = os.pidfd_open(child)
    lines = {descriptor: Lines() for descriptor in names}
    poll = select.poll()
    for descriptor in (ended, *names):
        poll.register(descriptor, select.POLLIN)
    while ended not in (ready := [descriptor for descriptor, _ in poll.poll()]):
        for descriptor in ready:
            data = os.read(descriptor, READ_BYTES)
            log.write(names[descriptor], lines[descriptor].feed(data))
            if not data:
                poll.unregister(descriptor)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # before it is reaped: until then nobody else has its number
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for descriptor, name in names.items():
        _drain(descriptor, name, lines[descriptor], log)
    return code if code >= 0 else 128 - code


def _drain(descriptor: int, name: str, lines: Lines, log: Log) -> None:
    os.set_blocking(descriptor, False)
    for _ in range(DRAIN_BYTES // READ_BYTES):
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            break
        if not data:
            break
        log.write(name, lines.feed(data))
    log.write(name, lines.rest())


def _say(say: int, text: str) -> None:
    """The last word to whoever started the shim, who may be gone: then nobody needs it."""
    with contextlib.suppress(BrokenPipeError):
        os.write(say, text.encode())
    os.close(say)


def _put(path: str, value: dict[str, Any]) -> None:
    """Write JSON whole or not at all, and onto the disk."""
    descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.write(descriptor, json.dumps(value).encode())
    os.fsync(descriptor)
    os.close(descriptor)
    os.rename(f"{path}.new", path)  # noqa: PTH104


def _quiet() -> None:
    """Let go of the daemon's descriptors: it waits for their end."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
