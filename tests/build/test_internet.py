import subprocess

import pytest

from build.internet import RELAY_4, RELAY_6, Internet, Site

pytestmark = [pytest.mark.root, pytest.mark.tool("nft"), pytest.mark.tool("ip"), pytest.mark.tool("busybox")]


def reaches(internet: Internet, place: str, address: str, *, ttl: int = 64) -> bool:
    ping = ["busybox", "ping", "-c", "1", "-W", "2", "-t", str(ttl), address]
    return internet.run(place, ping, check=False).returncode == 0


def test_sites_reach_the_relay_and_not_each_other() -> None:
    sites = [
        Site("easy", ("a", "b")),
        Site("double", ("c",)),
        Site("six", ("d",)),
        Site("open", ("e",)),
        Site("blocked", ("f",)),
    ]
    with Internet(*sites) as internet:
        assert internet.relay("a") == RELAY_4
        assert internet.relay("d") == f"[{RELAY_6}]"
        for node in ("a", "b", "c", "e", "f"):
            assert reaches(internet, node, RELAY_4), node
        assert reaches(internet, "d", RELAY_6)
        assert not reaches(internet, "d", RELAY_4)
        assert reaches(internet, "a", "192.168.1.3")  # b, on the same LAN
        assert not reaches(internet, "e", "192.168.1.3")
        assert reaches(internet, "a", "203.0.113.18")  # e is public
        assert not reaches(internet, "a", "203.0.113.18", ttl=5)  # and far away
        internet.cut("a", "e", off=True)
        assert not reaches(internet, "a", "203.0.113.18")
        assert reaches(internet, "a", RELAY_4)
        internet.cut("a", "e", off=False)
        assert reaches(internet, "a", "203.0.113.18")
        internet.lose(10)
        internet.lose(0)
        rules = internet.run("router", ["nft", "list", "chain", "inet", "wire", "lossy"]).stdout
        assert "drop" not in rules
        with pytest.raises(subprocess.CalledProcessError):
            internet.cut("a", "e", off=False)  # it is not


def test_an_internet_has_so_much_room() -> None:
    with pytest.raises(ValueError, match="at most 60"):
        Internet(*[Site("open", (f"n{number}",)) for number in range(61)])
