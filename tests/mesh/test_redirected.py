from typing import Any

import pytest

pytestmark = [pytest.mark.root, pytest.mark.tool("nft"), pytest.mark.tool("ip"), pytest.mark.tool("curl")]

DNS = "169.254.96.16"
NOT_CONNECTED = 7  # curl(1): failed to connect
RESET = (NOT_CONNECTED, 52, 56)  # curl(1): the same when the reset is quick, an empty answer, a reset while receiving


@pytest.mark.tool("dig")
@pytest.mark.parametrize("place", ["gateway", "container"])
def test_the_host_and_a_container_call_by_name(site: Any, place: str) -> None:
    assert site.dig(place, "+short", "web.default.svc.cluster.local").split() == ["9.251.1.2"]
    assert site.dig(place, "+short", "+tcp", "web.default.svc.cluster.local").split() == ["9.251.1.2"]
    assert "status: NXDOMAIN" in site.dig(place, "nobody.default.svc.cluster.local")
    assert site.dig(place, "+short", "-x", "9.251.1.2").split() == ["web.default.svc.cluster.local."]
    for url in ("http://9.251.1.2/", "http://web.default.svc.cluster.local/", "http://web/"):
        done = site.curl(place, url)
        assert done.stdout == "from the pod\n", done.stderr
    assert site.curl(place, "http://far.default.svc.cluster.local/").stdout == "from far-0 on gw-b\n"
    assert site.statistics()["proxy"]["accepted"] == 4


@pytest.mark.parametrize("place", ["gateway", "container"])
def test_what_cannot_be_reached_is_said_at_once(site: Any, place: str) -> None:
    for url in ("http://9.251.1.2:81/", "http://9.251.77.77/"):
        assert site.curl(place, url).returncode == NOT_CONNECTED, f"{url}: no rule leads there"
    for url in ("http://9.251.1.4/", "http://9.251.1.5/"):
        assert site.curl(place, url).returncode in RESET, f"{url}: nobody answers there"
    statistics = site.statistics()["proxy"]
    assert (statistics["accepted"], statistics["unreachable"]) == (2, 2)


def test_the_proxy_serves_nobody_who_comes_without_a_rule(site: Any) -> None:
    sockets = site.run("gateway", "ss", "-Hltn", "src", DNS).stdout
    (port,) = {line.split()[3].rpartition(":")[2] for line in sockets.splitlines()} - {"53"}
    assert site.curl("container", f"http://{DNS}:{port}/").returncode in RESET
    assert site.statistics()["proxy"]["accepted"] == 0
