"""What went through rules and what failed, into their statuses. A shell."""

from dataclasses import dataclass, field

import trio

from edged.errors import ConflictError, NotFoundError, StorageError
from edged.model.objects import Key, dump, typed
from edged.model.routing import Rule, RuleStatus
from edged.store.store import Store
from edged.store.writes import PutStatus

COUNT_S = 2.0  # counts are written this often at most, to memory only: they may be lost with the process
MAX_ERRORS = 8  # that a rule's status shows, the latest
MAX_ERROR = 256  # characters of one


@dataclass
class _Count:
    succeeded: int = 0
    failed: int = 0
    errors: list[str] = field(default_factory=list)


class Counts:
    """Adds what this node counts to what the store has. Two nodes that write at once may lose counts: they are rough."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counts: dict[Key, _Count] = {}
        self._some = trio.Event()

    def succeeded(self, rule: Key) -> None:
        """A message went through."""
        self._of(rule).succeeded += 1

    def failed(self, rule: Key, why: str) -> None:
        """A message did not."""
        self._of(rule).failed += 1
        self.problem(rule, why)

    def problem(self, rule: Key, why: str) -> None:
        """Something is wrong with a rule."""
        errors = self._of(rule).errors
        errors.append(why[:MAX_ERROR])
        del errors[:-MAX_ERRORS]

    async def run(self) -> None:
        """Write counts until cancelled. What the store refuses is written with the next."""
        while True:
            await self._some.wait()
            self._some = trio.Event()
            for rule, count in list(self._counts.items()):
                stored = self._store.get(rule)
                del self._counts[rule]
                if stored is None:
                    continue
                before = typed(stored, Rule).status
                status = _sum(before, count)
                if status == before:
                    continue
                try:
                    await self._store.write(PutStatus(rule, dump(status), uid=stored.uid, volatile=True))
                except (NotFoundError, ConflictError):
                    continue  # it was removed meanwhile, or made anew
                except StorageError:
                    self._add(rule, count)
            await trio.sleep(COUNT_S)

    def _of(self, rule: Key) -> _Count:
        self._some.set()
        return self._counts.setdefault(rule, _Count())

    def _add(self, rule: Key, count: _Count) -> None:
        since = self._of(rule)
        since.succeeded += count.succeeded
        since.failed += count.failed
        since.errors[:0] = count.errors


def _sum(before: RuleStatus, count: _Count) -> RuleStatus:
    """Repeated errors are shown once."""
    errors = list(dict.fromkeys(reversed([*before.errors, *count.errors])))[:MAX_ERRORS]
    return RuleStatus(before.success_messages + count.succeeded, before.fail_messages + count.failed, tuple(reversed(errors)))
