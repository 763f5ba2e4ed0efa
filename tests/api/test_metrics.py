from typing import Any

MAPS = "/api/v1/namespaces/default/configmaps"


async def test_metrics(served: Any, client: Any) -> None:
    for _ in range(2):
        await client("GET", "/nothing")
    await client("GET", MAPS)
    text = (await client("GET", "/metrics")).body.decode()
    assert 'edged_api_requests_total{code="404",method="GET",resource=""} 2.0' in text
    assert 'edged_api_requests_total{code="200",method="GET",resource="configmaps"} 1.0' in text
    assert f"edged_store_revision {float(served.store.revision)}" in text
    assert "edged_links 2.0" in text
