import pytest

from edged.model.core import Taint, Toleration
from edged.model.failover import tolerates, toleration_of

TAINT = Taint("room", "NoExecute", "wet")


@pytest.mark.parametrize(
    ("toleration", "takes"),
    [
        (Toleration("room", "Equal", "wet", "NoExecute"), True),
        (Toleration("room", "", "wet"), True),
        (Toleration("room", "Exists"), True),
        (Toleration("", "Exists"), True),
        (Toleration("", "Exists", "", "NoSchedule"), False),
        (Toleration("room", "Equal", "dry"), False),
        (Toleration("rooms", "Exists"), False),
        (Toleration("", "Equal", "wet"), False),
        (Toleration(), False),
        (Toleration("room", "In", "wet"), False),
    ],
)
def test_what_a_toleration_takes(toleration: Toleration, takes: bool) -> None:
    assert tolerates(toleration, TAINT) is takes


def test_the_first_that_takes_it_says_for_how_long() -> None:
    tolerations = [Toleration("other", "Exists"), Toleration("room", "Exists", toleration_seconds=5), Toleration("", "Exists")]
    assert toleration_of(TAINT, tolerations) == tolerations[1]
    assert toleration_of(TAINT, tolerations[:1]) is None
