import pytest

from tests.lab.history import Process, Sample, Seen, check_untouched, nodes_of

HERE = Process("gw-01", "web-0", "u1", 7, 100)
SHOWN = Seen("u1", "gw-01", (("c1", 0),), ready=True)


def sample(*runs: Process, shown: Seen | None = SHOWN) -> Sample:
    return Sample(0.0, {"gw-01": {"web-0": shown} if shown else {}, "gw-02": {}}, frozenset(runs))


def test_what_goes_on_is_untouched_whoever_shows_it() -> None:
    check_untouched([sample(HERE), sample(HERE, shown=None), sample(HERE, shown=SHOWN._replace(ready=False))], ["web-0"])


@pytest.mark.parametrize(
    "second",
    [
        sample(),  # it does not run
        sample(HERE._replace(start=101)),  # another process, with its number
        sample(HERE, HERE._replace(node="gw-02")),  # it runs twice
        sample(HERE, shown=SHOWN._replace(containers=(("c1", 1),))),
        sample(HERE, shown=SHOWN._replace(uid="u2")),
        sample(HERE, shown=SHOWN._replace(node="gw-02")),
    ],
)
def test_what_was_touched_is_found(second: Sample) -> None:
    with pytest.raises(AssertionError):
        check_untouched([sample(HERE), second], ["web-0"])


def test_where_a_pod_ever_ran() -> None:
    assert nodes_of([sample(HERE), sample(HERE._replace(node="gw-02", uid="u2")), sample()], "web-0") == {"gw-01", "gw-02"}
