import pytest

from edged.api.routes import Route, route
from edged.model.kinds import BY_RESOURCE

PODS, DEPLOYMENTS = BY_RESOURCE["pods"], BY_RESOURCE["deployments.apps"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/pods", Route(PODS, "", "", "")),
        ("/api/v1/namespaces/default/pods/", Route(PODS, "default", "", "")),
        ("/api/v1/namespaces/default/pods/web%2D0", Route(PODS, "default", "web-0", "")),
        ("/api/v1/namespaces/default/pods/web/log", Route(PODS, "default", "web", "log")),
        ("/apis/apps/v1/namespaces/a/deployments/web/scale", Route(DEPLOYMENTS, "a", "web", "scale")),
        ("/api/v1/nodes/gw-a/status", Route(BY_RESOURCE["nodes"], "", "gw-a", "status")),
        ("/api/v1/namespaces", Route(BY_RESOURCE["namespaces"], "", "", "")),
        ("/api/v1/namespaces/default", Route(BY_RESOURCE["namespaces"], "", "default", "")),
        ("/api/v1/namespaces/default/status", Route(BY_RESOURCE["namespaces"], "", "default", "status")),
        ("/api/v1/namespaces/pods/pods", Route(PODS, "pods", "", "")),
        ("/api/v2/pods", None),
        ("/apis/apps/v1/pods", None),
        ("/api/v1", None),
        ("", None),
    ],
)
def test_routes(path: str, expected: Route | None) -> None:
    assert route(path) == expected
