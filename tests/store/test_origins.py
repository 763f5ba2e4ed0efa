from edged.store.origins import Origins, scope_in
from edged.wire.sync import durable, home_of, node_of, scope_of, start_of


def test_the_names_of_one_store() -> None:
    origins = Origins("gw-a:5f0c91aa", "site-1", 7)
    assert (origins.of("site-1"), origins.of("*")) == ("site-1/gw-a:5f0c91aa", "*/site-1/gw-a:5f0c91aa")
    assert origins.volatile == "site-1/gw-a:5f0c91aa~7"
    assert origins.all == {origins.durable, origins.fleet, origins.volatile}
    assert {node_of(each) for each in origins.all} == {"gw-a"}
    assert {home_of(each) for each in origins.all} == {"site-1"}
    assert [scope_of(each) for each in (origins.durable, origins.fleet)] == ["site-1", "*"]
    assert (durable(origins.volatile), start_of(origins.volatile)) == (origins.durable, 7)
    assert scope_of(origins.volatile) == "site-1"


def test_a_kind_of_the_fleet_is_seen_in_the_fleet() -> None:
    assert scope_in("site-1", "devicemodels.devices.kubeedge.io") == "*"
    assert scope_in("site-1", "pods") == scope_in("site-1", "things.example.com") == "site-1"
