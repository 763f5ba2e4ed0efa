"""One link between two nodes: who dials, and which of two links stays. Both ends come to the same answer by their names."""

DEFER_S = 3.0  # the higher name dials only when the lower one has not by then: it may not know an address


def patience(own: str, peer: str, *, present: bool, addressed: bool) -> float | None:
    """Seconds to wait for the peer's link before dialling; None: do not dial.

    `present`: a relay reaches the peer, so it can dial as well as we. `addressed`: an address of it is configured here.
    """
    if own < peer:
        return 0.0 if present or addressed else None
    return DEFER_S if addressed else None


def replaces(*, new_by_lower: bool, old_by_lower: bool) -> bool:
    """Whether a proved link takes the place of an older one between the same nodes.

    The lower name's links win. A newer one of the same dialler wins: it would not have dialled if it still had the older.
    """
    return new_by_lower or not old_by_lower
