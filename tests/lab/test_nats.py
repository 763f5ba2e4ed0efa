"""Every pair of networks, with real NATs in namespaces: who meets by the relay, and who becomes direct."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from build.internet import MAPPABLE, WORLD, Internet, Kind, Site
from tests.lab.grid import Grid, running

pytestmark = [pytest.mark.root, pytest.mark.tool("nft"), pytest.mark.tool("ip")]

# All pairs at once, on a machine that may do other things; tests/bench measures one pair at a time.
MEET_S = 60.0
DIRECT_S = 60.0
SEARCH_S = 120.0  # two searches of 20 s
NARROW_MB = 50
LOSSY_MB = 20  # tests/bench takes 100

PLAIN = [
    Site("open", ("open",)),
    Site("easy", ("easy-1",)),
    Site("easy", ("easy-2", "easy-3")),
    Site("tracking", ("tracks-1",)),
    Site("tracking", ("tracks-2",)),
    Site("double", ("double",)),
]
FOUR = [node for site in PLAIN for node in site.nodes]
SIX = ["six-1", "six-2"]


def direct(grid: Grid, pairs: list[tuple[str, str]]) -> Callable[[], bool]:
    return lambda: all(grid.direct(*pair) is not None for pair in pairs)


def test_every_pair_meets_and_all_that_can_become_direct(fleet: Callable[..., Path], tmp_path: Path) -> None:
    sites = [*PLAIN, *(Site("six", (node,)) for node in SIX), Site("blocked", ("blocked",))]
    pairs = list(itertools.combinations([*FOUR, *SIX, "blocked"], 2))
    with Internet(*sites) as internet, running(internet, fleet, tmp_path / "authority" / "authority.crt") as grid:
        grid.wait(lambda: all(grid.met(*pair) is not None for pair in pairs), MEET_S)
        grid.wait(direct(grid, [*itertools.combinations(FOUR, 2), ("six-1", "six-2")]), DIRECT_S)
        for pair in pairs:
            family = {"six" if node in SIX else "blocked" if node == "blocked" else "four" for node in pair}
            kinds = {grid.paths[pair], grid.paths[pair[::-1]]}
            if pair == ("easy-2", "easy-3"):
                assert kinds == {"lan"}
            elif len(family) == 1:
                assert kinds == {"direct"}, pair
            else:
                assert kinds <= {"relay-ws", "relay-udp"}, pair


def test_one_hard_nat_is_passed_and_two_are_not(fleet: Callable[..., Path], tmp_path: Path) -> None:
    sites = [Site("hard", ("hard-1",)), Site("hard", ("hard-2",)), Site("easy", ("easy",)), Site("tracking", ("tracks",))]
    pairs = list(itertools.combinations([node for site in sites for node in site.nodes], 2))
    with Internet(*sites) as internet, running(internet, fleet, tmp_path / "authority" / "authority.crt") as grid:
        grid.wait(lambda: all(grid.met(*pair) is not None for pair in pairs), MEET_S)
        grid.wait(direct(grid, [pair for pair in pairs if pair != ("hard-1", "hard-2")]), SEARCH_S)
        assert grid.paths["hard-1", "hard-2"] == "relay-udp"


@pytest.mark.tool("miniupnpd")
def test_two_hard_nats_are_passed_where_gateways_map_a_port(fleet: Callable[..., Path], tmp_path: Path) -> None:
    sites = [Site("mapped", ("pcp",), ("PCP",)), Site("mapped", ("upnp",), ("UPnP",)), Site("hard", ("hard",))]
    with Internet(*sites) as internet, running(internet, fleet, tmp_path / "authority" / "authority.crt") as grid:
        grid.wait(direct(grid, list(itertools.combinations(("pcp", "upnp", "hard"), 2))), DIRECT_S)
        grid.wait(lambda: grid.last("hard", "", "port_mapping")["port_mapping"].startswith("none"), DIRECT_S)
        assert grid.last("pcp", "", "port_mapping")["port_mapping"] == f"PCP: {MAPPABLE}.6:7400"
        assert grid.last("upnp", "", "port_mapping")["port_mapping"] == f"UPnP: {MAPPABLE}.10:7400"
        assert set(grid.paths.values()) == {"direct"}


def test_a_transfer_outlives_the_cut_of_its_path_and_goes_back(fleet: Callable[..., Path], tmp_path: Path) -> None:
    sites = [Site("easy", ("a",)), Site("easy", ("b",))]
    fetch = {"a": ("b", 400)}
    with Internet(*sites) as internet, running(internet, fleet, tmp_path / "authority" / "authority.crt", fetch) as grid:
        grid.wait(direct(grid, [("a", "b")]), DIRECT_S)
        internet.cut("a", "b", off=True)
        grid.wait(lambda: all(path.startswith("relay") for path in grid.paths.values()), DIRECT_S)
        internet.cut("a", "b", off=False)
        grid.wait(lambda: set(grid.paths.values()) == {"direct"}, DIRECT_S)
        grid.wait(lambda: grid.last("a", "b", "fetched") is not None, DIRECT_S)
        fetched = grid.last("a", "b", "fetched")
        assert fetched is not None
        assert fetched["exact"]
        assert fetched["fetched"] == 400_000_000
        assert fetched["gap_s"] < 10  # QUIC's idle timeout: the link never broke


@pytest.mark.parametrize(("kind", "mtu"), [("easy", 1300), ("six", 1280)])  # a VPN; the least that IPv6 has to carry
def test_a_narrow_way_is_found_out_and_used(fleet: Callable[..., Path], tmp_path: Path, kind: Kind, mtu: int) -> None:
    sites = [Site(kind, ("a",)), Site(kind, ("b",))]
    fetch = {"a": ("b", NARROW_MB)}
    with Internet(*sites) as internet:
        internet.narrow("b", mtu)
        with running(internet, fleet, tmp_path / "authority" / "authority.crt", fetch) as grid:
            grid.wait(lambda: grid.last("a", "b", "fetched") is not None, DIRECT_S)
            fetched = grid.last("a", "b", "fetched")
            assert set(grid.paths.values()) == {"direct"}
    assert fetched is not None
    assert fetched["exact"]
    assert fetched["fetched"] == NARROW_MB * 1_000_000


def test_a_link_by_a_narrow_way_alone(fleet: Callable[..., Path], tmp_path: Path) -> None:
    sites = [Site("open", ("a",)), Site("open", ("b",))]
    peers = {"a": {"b": [f"{WORLD}.10:7400"]}}
    with Internet(*sites) as internet:
        internet.narrow("b", 1300)
        with running(internet, fleet, tmp_path / "authority" / "authority.crt", {"a": ("b", 5)}, peers) as grid:
            grid.wait(lambda: grid.last("a", "b", "fetched") is not None, DIRECT_S)
            fetched = grid.last("a", "b", "fetched")
    assert fetched is not None
    assert fetched["exact"]


def test_bytes_are_exact_when_a_tenth_of_all_datagrams_is_lost(fleet: Callable[..., Path], tmp_path: Path) -> None:
    sites = [Site("easy", ("a",)), Site("easy", ("b",))]
    fetch = {"a": ("b", LOSSY_MB)}
    with Internet(*sites) as internet:
        internet.lose(10)
        with running(internet, fleet, tmp_path / "authority" / "authority.crt", fetch) as grid:
            grid.wait(lambda: grid.last("a", "b", "fetched") is not None, 300)
            fetched = grid.last("a", "b", "fetched")
    assert fetched is not None
    assert fetched["exact"]
    assert fetched["fetched"] == LOSSY_MB * 1_000_000
