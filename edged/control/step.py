"""What a controller asks for: writes that stand or fall together, and the event that tells of them."""

from typing import NamedTuple

from edged.model.objects import Object
from edged.store.writes import Write


class Note(NamedTuple):
    """An event to record about an object; `type` is NORMAL or WARNING (store/events.py)."""

    about: Object
    type: str
    reason: str
    message: str


class Step(NamedTuple):
    """One transaction; `note` is recorded once it is on disk."""

    writes: tuple[Write, ...]
    note: Note | None = None
