import json
import stat
from pathlib import Path
from typing import Any

from edged.identity.node import Identity


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def made(edged: Any) -> None:
    assert edged("fleet", "init", "acme", "--name", "acme").returncode == 0


def test_from_an_authority_to_a_joined_node(edged: Any, tmp_path: Path) -> None:
    made(edged)
    assert mode(tmp_path / "acme") == 0o700
    assert mode(tmp_path / "acme/authority.key") == 0o600
    issued = edged(
        "fleet", "issue", "gw-a", "--group", "site", "--relay", "wss://r1", "--relay", "wss://r2:8443", "--dir", "acme"
    )
    assert issued.returncode == 0, issued.stderr
    assert "spiffe://acme/group/site/node/gw-a" in issued.stdout
    assert mode(tmp_path / "gw-a.bundle") == 0o600
    joined = edged("join", "gw-a.bundle")
    assert joined.returncode == 0, joined.stderr
    assert "node gw-a of group site in fleet acme" in joined.stdout
    assert mode(tmp_path / "state") == 0o700
    assert mode(tmp_path / "state/node.key") == 0o600
    identity = Identity.load(tmp_path / "state")
    assert (identity.name, identity.group, identity.fleet) == ("gw-a", "site", "acme")
    assert identity.relays == ("wss://r1", "wss://r2:8443")
    assert edged("join", "gw-a.bundle").returncode == 0  # once more changes nothing


def test_a_bundle_may_travel_through_a_pipe(edged: Any, tmp_path: Path) -> None:
    made(edged)
    bundle = edged("fleet", "issue", "gw-a", "--group", "site", "--dir", "acme", "-o", "-")
    assert bundle.returncode == 0
    assert edged("join", "-", stdin=bundle.stdout).returncode == 0
    assert Identity.load(tmp_path / "state").name == "gw-a"


def test_an_observer_is_told_which_groups_it_may_hold(edged: Any, failed: Any, tmp_path: Path) -> None:
    made(edged)
    issue = ("fleet", "issue", "obs", "--group", "cloud", "--dir", "acme")
    assert edged(*issue, "--observe", "site-1", "--observe", "site-2").returncode == 0
    assert edged("join", "obs.bundle").returncode == 0
    assert Identity.load(tmp_path / "state").observes == ("site-1", "site-2")
    printed = json.loads(edged("kubeconfig", "--server", "https://obs:1/", "--group", "site-2").stdout)
    assert printed["clusters"][0]["cluster"]["server"] == "https://obs:1/groups/site-2"
    assert printed["current-context"] == "admin@site-2"
    for group in ("cloud", "site-3"):
        failed(edged("kubeconfig", "--group", group), 2, f"does not observe '{group}'")
    failed(edged(*issue, "--force", "--observe", "cloud"), 2, "observes cloud: expected other groups")
    failed(edged(*issue, "--force", "--observe", "*", "--observe", "site-1"), 2, "observed group '*': expected a DNS label")
    assert edged(*issue, "--force", "--observe", "*").returncode == 0


def test_an_authority_is_never_overwritten(edged: Any, failed: Any, tmp_path: Path) -> None:
    made(edged)
    before = (tmp_path / "acme/authority.key").read_bytes()
    failed(edged("fleet", "init", "acme"), 1, "holds a fleet's authority already")
    assert (tmp_path / "acme/authority.key").read_bytes() == before


def test_wrong_names_and_addresses_are_usage_errors(edged: Any, failed: Any, tmp_path: Path) -> None:
    failed(edged("fleet", "init", "x", "--name", "ACME"), 2, "fleet 'ACME': expected a DNS label")
    failed(edged("fleet", "issue", "gw-a", "--group", "g", "--dir", "nowhere"), 2, "edged fleet init nowhere")
    made(edged)
    failed(edged("fleet", "issue", "GW", "--group", "g", "--dir", "acme"), 2, "node name 'GW': expected a DNS label")
    failed(edged("fleet", "issue", "gw", "--group", "a b", "--dir", "acme"), 2, "group 'a b': expected a DNS label")
    failed(edged("fleet", "issue", "gw", "--group", "g", "--relay", "r:1", "--dir", "acme"), 2, "--relay: expected wss://")
    failed(edged("fleet", "relay", "r", "--host", "not a host", "--dir", "acme"), 2, "--host: expected a DNS name")
    failed(edged("fleet", "relay", "r", "--host", "hôte", "--dir", "acme"), 2, "--host: expected a DNS name")
    assert edged("fleet", "issue", "gw", "--dir", "acme").returncode == 2  # no --group
    assert edged("fleet").returncode == 2
    assert edged().returncode == 2
    assert not list(tmp_path.glob("*.bundle"))


def test_a_bundle_is_overwritten_by_force_only(edged: Any, failed: Any, tmp_path: Path) -> None:
    made(edged)
    issue = ("fleet", "issue", "gw-a", "--group", "site", "--dir", "acme")
    assert edged(*issue).returncode == 0
    before = (tmp_path / "gw-a.bundle").read_bytes()
    failed(edged(*issue), 1, "gw-a.bundle exists: --force replaces it")
    assert (tmp_path / "gw-a.bundle").read_bytes() == before
    assert edged(*issue, "--force").returncode == 0
    assert (tmp_path / "gw-a.bundle").read_bytes() != before


def test_a_damaged_bundle_is_refused(edged: Any, failed: Any, tmp_path: Path) -> None:
    made(edged)
    for name in ("gw-a", "gw-b"):
        assert edged("fleet", "issue", name, "--group", "site", "--dir", "acme").returncode == 0
    good, other = (json.loads((tmp_path / f"{name}.bundle").read_bytes()) for name in ("gw-a", "gw-b"))
    for text, words in [
        ("", "not a join bundle"),
        ("{}", "not a join bundle of version 1"),
        (json.dumps(good)[:-300], "not a join bundle"),
        (json.dumps({**good, "key": other["key"]}), "the bundle's key is not the one"),
        (json.dumps({**good, "authority": other["certificate"]}), "the bundle's certificate is not of its authority"),
        (json.dumps({**good, "certificate": "x"}), "not an X.509 certificate"),
        (json.dumps({**good, "relays": "x"}), "damaged"),
        ("x" * 70_000, "at most 65536"),
    ]:
        (tmp_path / "bad.bundle").write_text(text)
        failed(edged("join", "bad.bundle"), 2, words)
    failed(edged("join", "absent.bundle"), 1, "absent.bundle: No such file")
    assert not (tmp_path / "state/node.crt").exists()


def test_an_identity_is_replaced_by_force_only(edged: Any, failed: Any, tmp_path: Path) -> None:
    made(edged)
    assert edged("fleet", "init", "evil", "--name", "evil").returncode == 0
    for name, fleet in (("gw-a", "acme"), ("gw-x", "evil")):
        assert edged("fleet", "issue", name, "--group", "site", "--dir", fleet).returncode == 0
    assert edged("join", "gw-a.bundle").returncode == 0
    failed(edged("join", "gw-x.bundle"), 1, "holds the identity spiffe://acme/group/site/node/gw-a: --force replaces it")
    assert Identity.load(tmp_path / "state").fleet == "acme"
    assert edged("join", "gw-x.bundle", "--force").returncode == 0
    assert Identity.load(tmp_path / "state").fleet == "evil"


def test_a_relay_gets_files_and_is_no_node(edged: Any, failed: Any, tmp_path: Path) -> None:
    made(edged)
    relay = ("fleet", "relay", "relay-1", "--host", "relay.example.com", "--host", "::1", "--dir", "acme", "-o", "relay")
    issued = edged(*relay)
    assert issued.returncode == 0, issued.stderr
    assert sorted(path.name for path in (tmp_path / "relay").iterdir()) == ["authority.crt", "relay.crt", "relay.key"]
    assert mode(tmp_path / "relay/relay.key") == 0o600
    failed(edged(*relay), 1, "relay.crt exists: --force replaces it")
    files = {name: (tmp_path / "relay" / name).read_text() for name in ("relay.key", "relay.crt", "authority.crt")}
    bundle = {"key": files["relay.key"], "certificate": files["relay.crt"], "authority": files["authority.crt"]}
    (tmp_path / "relay.bundle").write_text(json.dumps({"edgedBundle": 1, "relays": [], **bundle}))
    failed(edged("join", "relay.bundle"), 2, "relay-1, which is no node")


def test_a_kubeconfig_names_the_api_of_this_node(edged: Any, failed: Any, tmp_path: Path) -> None:
    failed(edged("kubeconfig"), 2, "run `edged join BUNDLE` first")
    made(edged)
    assert edged("fleet", "issue", "gw-a", "--group", "site", "--dir", "acme").returncode == 0
    assert edged("join", "gw-a.bundle").returncode == 0
    printed = json.loads(edged("kubeconfig", env={"EDGED_API__LISTEN": "0.0.0.0:7001"}).stdout)
    assert printed["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:7001"
    assert printed["current-context"] == "admin@gw-a"
    written = edged("kubeconfig", "--server", "https://gw-a:1", "--user", "eve", "-o", "config")
    assert (written.returncode, written.stdout) == (0, "")
    assert mode(tmp_path / "config") == 0o600
    assert json.loads((tmp_path / "config").read_text())["clusters"][0]["cluster"]["server"] == "https://gw-a:1"
    failed(edged("kubeconfig", env={"EDGED_API__LISTEN": "127.0.0.1:0"}), 2, "give --server")
    failed(edged("kubeconfig", "--user", "x" * 65), 2, "--user: expected 1 to 64 characters")
