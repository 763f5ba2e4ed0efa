import socket
import threading
from typing import Any

import pytest
from dnslib import RR, A, DNSRecord

from build.fleet import FailedError
from build.story import all_ready, everything, is_ready, lookup, reported, running


class Served:
    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers

    def get(self, path: str) -> Any:
        return self._answers.get(path, {"items": []})


def node(name: str, ready: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def test_a_pod_without_conditions_is_not_ready() -> None:
    assert not is_ready({})
    assert is_ready(node("gw-a", "True"))
    assert not is_ready(node("gw-a", "Unknown"))


def test_all_nodes_are_ready_when_both_are() -> None:
    def at(*nodes: dict[str, Any]) -> Any:
        return Served({"/api/v1/nodes": {"items": nodes}})

    assert all_ready(at(node("gw-a", "True"), node("gw-b", "True")))
    assert not all_ready(at(node("gw-a", "True"), node("gw-b", "False")))
    assert not all_ready(at(node("gw-a", "True")))


def test_a_restart_changes_what_is_running() -> None:
    def pod(**changed: Any) -> Any:
        status = {"containerID": "process://1", "restartCount": 0, "state": {"running": {"startedAt": "t"}}, **changed}
        return {"status": {"containerStatuses": [status]}}

    assert running(pod()) == [("process://1", "t", 0)]
    assert running(pod()) != running(pod(restartCount=1))
    with pytest.raises(LookupError):
        running(pod(state={"waiting": {}}))


def test_a_twin_that_reported_nothing_has_no_value() -> None:
    device = {"status": {"twins": [{"propertyName": "setpoint"}, {"propertyName": "temperature", "reported": {"value": "21"}}]}}
    assert reported(device, "temperature") == "21"
    assert reported(device, "setpoint") == ""
    assert reported({}, "temperature") == ""


def test_stores_are_compared_without_their_own_numbers() -> None:
    def at(version: str, data: str) -> Any:
        item = {"metadata": {"name": "x", "namespace": "default", "resourceVersion": version}, "data": {"key": data}}
        return Served({"/api/v1/configmaps": {"items": [item]}})

    assert everything(at("1", "a")) == everything(at("2", "a"))
    assert everything(at("1", "a")) != everything(at("1", "b"))
    assert list(everything(at("1", "a"))) == ["ConfigMap default/x"]


@pytest.mark.parametrize("known", [True, False])
def test_names_are_asked_of_the_server(known: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            data, sender = server.recvfrom(512)
            reply = DNSRecord.parse(data).reply()
            if known:
                reply.add_answer(RR("web.", rdata=A("127.96.1.2")))
            server.sendto(reply.pack(), sender)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            if known:
                assert lookup("web", server.getsockname()) == "127.96.1.2"
            else:
                with pytest.raises(FailedError, match="web has no address"):
                    lookup("web", server.getsockname())
        finally:
            thread.join()
