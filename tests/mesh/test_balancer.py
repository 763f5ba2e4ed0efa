from random import Random

from hypothesis import given
from hypothesis import strategies as st

from edged.mesh.balancer import AVOID_S, MAX_AVOIDED, Balancer
from edged.mesh.table import Endpoint

ENDPOINTS = st.lists(
    st.builds(
        Endpoint, st.sampled_from("abcdefgh"), st.sampled_from(["here", "there", "far"]), st.just("10.0.0.1"), st.just(80)
    ),
    unique=True,
    max_size=12,
)


def endpoint(pod: str, node: str) -> Endpoint:
    return Endpoint(pod, node, "10.0.0.1", 80)


@given(ENDPOINTS, st.data(), st.integers())
def test_each_endpoint_once_healthy_before_failed_local_before_remote(
    endpoints: list[Endpoint], data: st.DataObject, seed: int
) -> None:
    balancer = Balancer("here", Random(seed))
    failed = data.draw(st.lists(st.sampled_from(endpoints), unique=True)) if endpoints else []
    for at, each in enumerate(failed):
        balancer.failed(each, 100.0 + at / 100)
    order = balancer.order(endpoints, 101.0)
    assert sorted(order) == sorted(endpoints)
    healthy = [each for each in order if each not in failed]
    assert order == healthy + failed, "failed ones last, the longest ago first"
    locality = [each.node != "here" for each in healthy]
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
    balancer.succeeded(near)
    assert balancer.order([near, far], 50.0) == [near, far]


def test_what_is_remembered_is_bounded() -> None:
    balancer = Balancer("here", Random(1))
    endpoints = [endpoint(str(number), "there") for number in range(MAX_AVOIDED + 1)]
    for at, each in enumerate(endpoints):
        balancer.failed(each, at / 1e6)
    assert balancer.order(endpoints, 1.0)[0] == endpoints[0], "the first to fail is forgotten"
    assert len(balancer._failed) == MAX_AVOIDED
