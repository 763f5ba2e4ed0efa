from random import Random

from hypothesis import given
from hypothesis import strategies as st

from edged.mesh.balancer import AVOID_S, FORGET_S, MAX_KNOWN, Balancer
from edged.mesh.policy import BY_CHANCE, BY_HASH, BY_LEAST, BY_TURNS, Policy
from edged.mesh.table import Endpoint

ENDPOINTS = st.lists(
    st.builds(
        Endpoint,
        st.sampled_from("abcdefgh"),
        st.sampled_from(["here", "there", "far", "group/other"]),
        st.just("10.0.0.1"),
        st.just(80),
    ),
    unique=True,
    max_size=12,
)


def endpoint(pod: str, node: str) -> Endpoint:
    return Endpoint(pod, node, "10.0.0.1", 80)


@given(ENDPOINTS, st.sampled_from([BY_LEAST, BY_CHANCE, BY_TURNS, BY_HASH]), st.data(), st.integers())
def test_each_endpoint_once_healthy_before_failed_local_before_remote(
    endpoints: list[Endpoint], kind: str, data: st.DataObject, seed: int
) -> None:
    balancer = Balancer("here", Random(seed))
    failed = data.draw(st.lists(st.sampled_from(endpoints), unique=True)) if endpoints else []
    for at, each in enumerate(failed):
        balancer.failed(each, 100.0 + at / 100)
    order = balancer.order(endpoints, 101.0, Policy(kind), "192.0.2.7", "web")
    assert sorted(order) == sorted(endpoints)
    healthy = [each for each in order if each not in failed]
    assert order == healthy + failed, "failed ones last, the longest ago first"
    locality = [("here", "there", "group/other").index(each.node.replace("far", "there")) for each in healthy]
    assert locality == sorted(locality)


def test_remote_endpoints_share_the_load() -> None:
    balancer = Balancer("here", Random(1))
    endpoints = [endpoint("a", "there"), endpoint("b", "far")]
    firsts = [balancer.order(endpoints, 0.0)[0].pod for _ in range(1000)]
    assert 400 < firsts.count("a") < 600


def test_a_failed_endpoint_is_avoided_for_a_while() -> None:
    balancer = Balancer("here", Random(1))
    near, far = endpoint("a", "here"), endpoint("b", "there")
    balancer.failed(near, 50.0)
    assert balancer.order([near, far], 50.0 + AVOID_S - 0.1) == [far, near]
    assert balancer.order([near, far], 50.0 + AVOID_S) == [near, far]


def test_success_forgives() -> None:
    balancer = Balancer("here", Random(1))
    near, far = endpoint("a", "here"), endpoint("b", "there")
    balancer.failed(near, 50.0)
    balancer.succeeded(near, 0.001, 50.0)
    assert balancer.order([near, far], 50.0) == [near, far]


def test_what_is_remembered_is_bounded() -> None:
    balancer = Balancer("here", Random(1))
    endpoints = [endpoint(str(number), "there") for number in range(MAX_KNOWN + 1)]
    for at, each in enumerate(endpoints):
        balancer.failed(each, at / 1e6)
    assert balancer.order(endpoints, 1.0)[0] == endpoints[0], "the first to fail is forgotten"
    assert len(balancer._known) == MAX_KNOWN


THREE = [endpoint(pod, "there") for pod in "abc"]


def test_turns_go_round_by_service() -> None:
    balancer = Balancer("here", Random(1))
    firsts = [balancer.order(THREE, 0.0, Policy(BY_TURNS), service="web")[0].pod for _ in range(6)]
    assert firsts == ["a", "b", "c"] * 2
    assert balancer.order(THREE, 0.0, Policy(BY_TURNS), service="other")[0].pod == "a"
    assert [each.pod for each in balancer.order(THREE, 0.0, Policy(BY_TURNS), service="web")] == ["a", "b", "c"]


def test_turns_go_round_among_the_nearest() -> None:
    balancer = Balancer("here", Random(1))
    near = [endpoint("x", "here"), endpoint("y", "here")]
    firsts = [balancer.order([*THREE, *near], 0.0, Policy(BY_TURNS), service="web")[0].pod for _ in range(4)]
    assert firsts == ["x", "y", "x", "y"]


def test_a_client_keeps_its_endpoint_when_others_come_and_go() -> None:
    balancer = Balancer("here", Random(1))
    by = {f"192.0.2.{n}": balancer.order(THREE, 0.0, Policy(BY_HASH), f"192.0.2.{n}")[0] for n in range(200)}
    assert {each.pod for each in by.values()} == {"a", "b", "c"}
    again = Balancer("here", Random(2))
    for client, first in by.items():
        assert again.order(THREE, 0.0, Policy(BY_HASH), client)[0] == first, "whoever asks, after a restart too"
        left = [each for each in THREE if each.pod != "c"]
        if first.pod != "c":
            assert again.order(left, 0.0, Policy(BY_HASH), client)[0] == first


def firsts(balancer: Balancer, now: float, count: int = 300) -> dict[str, int]:
    made = [balancer.order(THREE[:2], now)[0].pod for _ in range(count)]
    return {pod: made.count(pod) for pod in "ab"}


def test_the_one_with_fewer_calls_under_way_comes_first() -> None:
    balancer = Balancer("here", Random(1))
    for each in THREE[:2]:
        balancer.succeeded(each, 0.001, 0.0)
    for _ in range(5):
        balancer.began(THREE[0])
    assert firsts(balancer, 0.0) == {"a": 0, "b": 300}
    for _ in range(5):
        balancer.ended(THREE[0])
    assert 100 < firsts(balancer, 0.0)["a"] < 200


def test_the_quicker_one_comes_first_and_the_slow_one_gets_another_chance() -> None:
    balancer = Balancer("here", Random(1))
    balancer.succeeded(THREE[0], 0.5, 0.0)
    balancer.succeeded(THREE[1], 0.1, 0.0)
    assert firsts(balancer, 0.1)["a"] == 0
    balancer.succeeded(THREE[1], 0.1, 3 * FORGET_S)
    assert firsts(balancer, 3 * FORGET_S)["b"] == 0


def test_what_was_never_called_is_tried() -> None:
    balancer = Balancer("here", Random(1))
    balancer.succeeded(THREE[0], 0.1, 0.0)
    assert firsts(balancer, 0.0)["a"] == 0
