"""Groups that this node observes: their objects as they are here, under `/groups/GROUP/`, for reading alone."""

from collections.abc import Callable

from edged.api.exchange import Answer, Request, flag, json_answer
from edged.api.reads import Reads
from edged.api.routes import Route
from edged.api.scale import scale_of
from edged.api.status import StatusError
from edged.identity.certificates import EVERY, Subject
from edged.model.core import Node
from edged.model.endpoints import is_ready
from edged.model.kinds import BY_STRUCT
from edged.model.objects import typed
from edged.store.store import Store

READS = ("GET", "HEAD")


class Observed:
    """Answers what is asked of other groups on node `me`."""

    def __init__(self, store: Store, me: Subject, wall: Callable[[], float]) -> None:
        self._store, self._me, self._wall = store, me, wall

    def check(self, group: str) -> None:
        """StatusError 404 unless the group is observed here."""
        if group == self._me.group or not self._me.may_hold(group):
            seen = "every other group" if EVERY in self._me.observes else ", ".join(self._me.observes) or "none"
            raise StatusError(404, f'group "{group[:64]}" is not observed by node {self._me.name}, which observes {seen}')

    def answer(self, group: str, place: Route, request: Request) -> Answer:
        """What a GET reads of an observed group. StatusError 405 for all else, and for what goes on at its nodes."""
        if request.method not in READS:
            raise StatusError(405, f"group {group} is only observed here, nothing of it is written: {self._whom(group)}")
        reads = Reads(self._store, self._wall, group)
        match place.subresource:
            case "" if place.name:
                return reads.get(place, request)
            case "" if flag(request.query, "watch"):
                raise StatusError(405, f"watch is not served for group {group}, which is only observed here: list it again")
            case "":
                return reads.list_all(place, request)
            case "status" if place.row.status:
                return reads.get(place, request)
            case "scale":
                return json_answer(200, scale_of(reads.existing(place)))
        raise StatusError(405, f"{place.subresource[:64]} is not served for group {group}: {self._whom(group)}")

    def _whom(self, group: str) -> str:
        """A node of the group that takes writes, in words."""
        nodes = [typed(obj, Node) for obj in self._store.list(BY_STRUCT[Node].resource, group=group)]
        nodes.sort(key=lambda node: (not is_ready(node), node.metadata.name))
        if not nodes:
            return "ask one of its nodes"
        addresses = {address.type: address.address for address in nodes[0].status.addresses}
        at = f" at {addresses['InternalIP']}" if "InternalIP" in addresses else ""
        return f"ask one of its nodes, such as {nodes[0].metadata.name}{at}"
