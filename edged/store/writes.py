"""What can be asked of the store: declarative writes, and the changes that come of them."""

from typing import NamedTuple

from edged.model.objects import Key, Object

ADDED = "ADDED"
MODIFIED = "MODIFIED"
DELETED = "DELETED"


class Create(NamedTuple):
    """A new object. AlreadyExistsError when one of its key is there."""

    key: Key
    uid: str
    body: bytes
    status: bytes | None = None


class Put(NamedTuple):
    """A new body for an object that is there. `rv`: only if this is still its resourceVersion (else ConflictError)."""

    key: Key
    body: bytes
    rv: int | None = None


class PutStatus(NamedTuple):
    """A new status. `uid`: only if the object is still this one (else ConflictError).

    `volatile`: it may be lost with this process. It is seen and replicated as any other and costs no flash; it becomes
    durable when the store checkpoints, or at once when there are too many of them, or the kind is the whole fleet's.
    """

    key: Key
    status: bytes
    rv: int | None = None
    uid: str | None = None
    volatile: bool = False


class Delete(NamedTuple):
    """The end of an object, on the same conditions."""

    key: Key
    rv: int | None = None
    uid: str | None = None


Write = Create | Put | PutStatus | Delete


class Change(NamedTuple):
    """An object became what it is (ADDED, MODIFIED), or is gone and was this (DELETED). `rv` orders a node's changes."""

    type: str
    rv: int
    object: Object
