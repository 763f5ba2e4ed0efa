import json

from edged.mesh.rules import removal, ruleset

PAIRS = [("9.251.1.3", 443), ("9.251.1.2", 80)]
PROXY = ("169.254.96.16", 40000)


def verbs(transaction: dict[str, object]) -> list[tuple[str, str]]:
    return [(verb, kind) for command in transaction["nftables"] for verb, what in command.items() for kind in what]


def part(kind: str) -> list[dict[str, object]]:
    commands = ruleset(PAIRS, PROXY)["nftables"]
    return [command["add"][kind] for command in commands if kind in command.get("add", {})]


def test_the_table_is_replaced_whole() -> None:
    start = [("add", "table"), ("delete", "table"), ("add", "table"), ("add", "set"), ("add", "chain")]
    assert verbs(ruleset(PAIRS, PROXY))[:5] == start
    assert verbs(removal()) == [("add", "table"), ("delete", "table")]


def test_nothing_but_our_own_table_is_named() -> None:
    for command in ruleset(PAIRS, PROXY)["nftables"]:
        (what,) = next(iter(command.values())).values()
        assert what["family"] == "ip"
        assert what.get("table", what.get("name")) == "edged"


def test_known_pairs_are_the_elements_in_order() -> None:
    (services,) = part("set")
    assert services["elem"] == [{"concat": ["9.251.1.2", 80]}, {"concat": ["9.251.1.3", 443]}]


def test_no_services_no_elements() -> None:
    (services,) = [c["add"]["set"] for c in ruleset([], PROXY)["nftables"] if "set" in c.get("add", {})]
    assert "elem" not in services


def test_connections_of_the_host_and_of_containers_go_to_the_proxy() -> None:
    hooks = {chain["name"]: (chain["type"], chain["hook"]) for chain in part("chain")}
    redirected = {
        hooks[rule["chain"]] for rule in part("rule") if {"dnat": {"addr": PROXY[0], "port": PROXY[1]}} in rule["expr"]
    }
    assert redirected == {("nat", "output"), ("nat", "prerouting")}


def test_what_is_left_is_rejected() -> None:
    hooks = {chain["name"]: (chain["type"], chain["hook"]) for chain in part("chain")}
    rejected = [hooks[rule["chain"]] for rule in part("rule") if any("reject" in expression for expression in rule["expr"])]
    assert sorted(rejected) == [("filter", "forward")] * 2 + [("filter", "output")] * 2


def test_it_is_json() -> None:
    assert json.loads(json.dumps(ruleset(PAIRS, PROXY))) == ruleset(PAIRS, PROXY)
