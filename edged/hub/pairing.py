"""One link between two nodes: who dials, and which of two links stays. Both ends come to the same answer by their names."""

UNUSED_S = 60.0  # a link that neither end wants goes when it had no stream for so long: calls come in groups
DEFER_S = 3.0  # the higher name dials only when the lower one has not by then: it may know no way, or want no link


def patience(own: str, peer: str, *, reachable: bool, asked: bool) -> float | None:
    """Seconds to wait for the peer's link before dialling; None: do not dial.

    `reachable`: some way to it is known. `asked`: a caller waits, so this is no time for manners.
    """
    if not reachable:
        return None
    return 0.0 if own < peer or asked else DEFER_S


def replaces(*, new_by_lower: bool, old_by_lower: bool) -> bool:
    """Whether a proved link takes the place of an older one between the same nodes.

    The lower name's links win. A newer one of the same dialler wins: it would not have dialled if it still had the older.
    """
    return new_by_lower or not old_by_lower


def unused(wanted_here: bool, wanted_there: bool | None, quiet: float) -> bool:
    """Whether a link without streams for `quiet` seconds is to go. An end that has not said what it wants may want it."""
    return not wanted_here and wanted_there is False and quiet >= UNUSED_S
