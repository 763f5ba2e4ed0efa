"""How the suite is cut into lanes: processes that take units of tests from one queue, each the next when it has done one.

A unit is a file: its tests share what is costly to make. The units that take long begin first, so that no lane is left
with one while the others are done.
"""

from xdist.scheduler import LoadScopeScheduling

# Files whose tests take long and share nothing: each test is a unit.
APART = (
    "tests/bench/test_bench.py",
    "tests/hub/test_discovery.py",
    "tests/store/test_power.py",
)

# Files and tests that need something of which a machine has one, and what: they are a unit together.
TOGETHER = {
    "tests/bench/test_bench.py::test_start": "a quickstart",
    "tests/e2e/test_quickstart.py": "a quickstart",
    "tests/build/test_quickstart.py": "a quickstart",
}

# What begins first, in this order.
LONG = (
    "tests/lab/test_group.py",
    "a quickstart",
    "tests/e2e/test_kill.py",
    "tests/bench/test_bench.py",
    "tests/hub/test_discovery.py",
    "tests/e2e/test_fleet.py",
    "tests/store/test_power.py",
    "tests/api/test_kubectl.py",
    "tests/device/opcua/test_frames.py",
)


def unit(nodeid: str) -> str:
    """The unit that a test belongs to."""
    file = nodeid.partition("::")[0]
    alone = nodeid if file in APART else file
    return TOGETHER.get(nodeid) or TOGETHER.get(file, alone)


def rank(nodeid: str) -> int:
    """Tests are run in the order of their ranks, else in that of their files."""
    named = unit(nodeid).partition("::")[0]
    return LONG.index(named) if named in LONG else len(LONG)


class Lanes(LoadScopeScheduling):
    """xdist's queue of units, with ours."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
