import csv
import io
import json
from typing import Any

import pytest

from edged.cli.devicehistory import Said, iso, seconds, table
from edged.errors import InvalidError

DEVICES = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices"


def test_times() -> None:
    assert [seconds(text) for text in ("90s", "15m", "6h", "7d")] == [90, 900, 21600, 604800]
    assert iso(1_764_000_000_123) == "2025-11-24T16:00:00.123Z"
    for text in ("", "h", "1.5h", "1w", "-1h", "1h "):
        with pytest.raises(InvalidError, match="expected a time such as"):
            seconds(text)


def test_a_row_for_each_property() -> None:
    said = [Said("power", "float", str(value), 1000 * value) for value in (3, 1, 2)]
    said += [Said("on", "boolean", "true", 0), Said("name", "string", "7" * 40, 0), Said("raw", "bytes", "c0ffee", 0)]
    rows = {row[0]: row[1:] for row in table(said).rows}
    course, *rest = rows["power"]
    assert (course[0], course[-1], len(course)) == ("▁", "█", 48)
    assert rest == ["1", "3", "3", "3", "2s"]
    assert rows["on"][1:4] == ("1", "1", "true")
    assert rows["name"] == ("", "", "", "7" * 16, "1", "0s")
    assert rows["raw"][:3] == ("", "", "")


def test_the_history_of_a_device_of_another_node(gateways: Any, failed: Any) -> None:
    rows = list(csv.reader(io.StringIO(gateways("history", "boiler", "temperature", "--csv").stdout)))
    assert rows[0] == ["time", "property", "value"]
    values = [int(value) for _, _, value in rows[1:]]
    assert len(values) > 2
    assert values == list(range(values[0], values[0] + len(values)))  # each reading once, in order
    lines = [json.loads(line) for line in gateways("history", "boiler", "--json", "--limit", "3").stdout.splitlines()]
    assert len(lines) == 3
    assert set(lines[0]) == {"property", "type", "value", "time"}
    ended = gateways("history", "boiler", "--since", "1d")
    assert ended.stdout.splitlines()[0].split() == ["PROPERTY", "COURSE", "LOWEST", "HIGHEST", "LAST", "READINGS", "OVER"]
    failed(gateways("history", "boiler", "pressure"), 1, "no readings of boiler in the last 1h")
    failed(gateways("history", "boiler", "--since", "noon"), 2, "expected a time such as")


def test_a_device_that_was_moved_keeps_its_history(gateways: Any) -> None:
    group, path = gateways.group, f"{DEVICES}/kettle"
    local = group.local(gateways.here)
    local.create({**local.get(f"{DEVICES}/boiler"), "metadata": {"name": "kettle", "namespace": "default"}, "status": {}})

    def values() -> list[int]:
        rows = csv.reader(io.StringIO(gateways("history", "kettle", "temperature", "--csv").stdout))
        return [int(value) for _, _, value in list(rows)[1:]]

    try:
        group.wait("readings on the first node", lambda: len(values()) > 3, 60)
        local.patch(path, {"spec": {"nodeName": gateways.here}})
        group.wait("readings on the second node", lambda: values().count(20) == 2, 60)
        found = values()
    finally:
        local.delete(path)
    longer = len(set(found))  # a counter begins anew on another node
    assert sorted(found) == sorted([*range(20, 20 + longer), *range(20, 20 + len(found) - longer)])


def test_a_node_that_is_away_is_named(edged: Any, daemon: Any) -> None:
    said = b'{"property":"p","type":"int","value":"1","time":5}\n'
    head = b'HTTP/1.1 200 OK\r\nWarning: 299 - "what \\"gw-b\\" said is missing"\r\nContent-Length: %d\r\n\r\n'
    for answer, code in ((said, 3), (b"", 1)):
        with daemon(0, head % len(answer) + answer):
            ended = edged("device", "history", "pump", "--csv")
        assert ended.returncode == code
        assert ended.stderr.splitlines()[0] == 'edged: degraded: what "gw-b" said is missing'
