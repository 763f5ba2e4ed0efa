import copy
from typing import Any

import pytest

from edged.model.defaults import DEFAULTS, default
from edged.model.fields import fields
from edged.model.kinds import BY_KIND

JSON = dict[str, Any]
POD, SERVICE = BY_KIND["v1", "Pod"], BY_KIND["v1", "Service"]
DEPLOYMENT = BY_KIND["apps/v1", "Deployment"]


def test_the_defaults_are_of_fields_that_exist() -> None:
    for owner, values in DEFAULTS.items():
        assert values.keys() <= fields(owner).types.keys()


def test_a_pod(pod: JSON) -> None:
    del pod["apiVersion"], pod["kind"]
    before = copy.deepcopy(pod)
    found = default(pod, POD)
    assert pod == before
    assert (found["apiVersion"], found["kind"]) == ("v1", "Pod")
    assert found["spec"] == {
        "containers": [
            {
                "name": "web",
                "image": "nginx:1.27",
                "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}],
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
            }
        ],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
        "securityContext": {},
    }


def test_what_is_said_stays(pod: JSON) -> None:
    pod["spec"] |= {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "dnsPolicy": ""}
    spec = default(pod, POD)["spec"]
    assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"], spec["dnsPolicy"]) == ("Never", 0, "ClusterFirst")


def test_what_a_secret_says_plainly_becomes_its_data() -> None:
    secret = {"data": {"a": "YQ==", "b": "Yg=="}, "stringData": {"b": "B", "c": "ü"}}
    found = default(secret, BY_KIND["v1", "Secret"])
    assert found["data"] == {"a": "YQ==", "b": "Qg==", "c": "w7w="}
    assert "stringData" not in found
    assert found["type"] == "Opaque"
    assert "data" not in default({}, BY_KIND["v1", "Secret"])


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"), ("nginx:latest", "Always"), ("nginx:1.27", "IfNotPresent"), ("host:5000/nginx", "Always"),
        ("host:5000/nginx:2", "IfNotPresent"), ("nginx@sha256:" + "0" * 64, "IfNotPresent"), ("host:5000/a/b:latest", "Always"),
    ],
)  # fmt: skip
def test_the_pull_policy_follows_the_tag(pod: JSON, image: str, policy: str) -> None:
    pod["spec"]["containers"][0]["image"] = image
    assert default(pod, POD)["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_requests_are_the_limits_where_nothing_else_is_said(pod: JSON) -> None:
    pod["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}
    resources = default(pod, POD)["spec"]["containers"][0]["resources"]
    assert resources["requests"] == {"cpu": "500m", "memory": "1Gi"}


def test_ports_of_the_host_network(pod: JSON) -> None:
    pod["spec"]["hostNetwork"] = True
    assert default(pod, POD)["spec"]["containers"][0]["ports"][0]["hostPort"] == 80


def test_a_deployment(deployment: JSON) -> None:
    del deployment["spec"]["replicas"]
    spec = default(deployment, DEPLOYMENT)["spec"]
    assert spec["replicas"] == 1
    assert spec["revisionHistoryLimit"] == 10
    assert spec["progressDeadlineSeconds"] == 600
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert spec["template"]["spec"]["restartPolicy"] == "Always"


@pytest.mark.parametrize(
    ("strategy", "result"),
    [
        ({"type": "Recreate"}, {"type": "Recreate"}),
        ({}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}),
        (
            {"rollingUpdate": {"maxSurge": 1}},
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}},
        ),
    ],
)
def test_strategies(deployment: JSON, strategy: JSON, result: JSON) -> None:
    deployment["spec"]["strategy"] = strategy
    assert default(deployment, DEPLOYMENT)["spec"]["strategy"] == result


def test_a_service(service: JSON) -> None:
    service["spec"]["ports"].append({"port": 53, "protocol": "UDP", "targetPort": 0})
    assert default(service, SERVICE)["spec"] == {
        "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}, {"port": 53, "targetPort": 53, "protocol": "UDP"}],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }


def test_services_of_other_types(service: JSON) -> None:
    outside = default({**service, "spec": {"type": "ExternalName", "externalName": "db.example.com"}}, SERVICE)["spec"]
    assert outside == {"type": "ExternalName", "externalName": "db.example.com", "sessionAffinity": "None"}
    service["spec"] |= {"type": "NodePort", "sessionAffinity": "ClientIP"}
    spec = default(service, SERVICE)["spec"]
    assert spec["externalTrafficPolicy"] == "Cluster"
    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}


@pytest.mark.parametrize("given", [{"clusterIP": "None"}, {"clusterIPs": ["None"]}])
def test_a_headless_service(service: JSON, given: JSON) -> None:
    service["spec"] |= given
    spec = default(service, SERVICE)["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("None", ["None"])


def test_defaults_are_not_shared(deployment: JSON) -> None:
    default(deployment, DEPLOYMENT)["spec"]["strategy"]["rollingUpdate"]["maxSurge"] = "changed"
    assert default(deployment, DEPLOYMENT)["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == "25%"


def test_defaults_stay_as_they_are(deployment: JSON, service: JSON) -> None:
    for value, row in ((deployment, DEPLOYMENT), (service, SERVICE)):
        once = default(value, row)
        assert default(once, row) == once
