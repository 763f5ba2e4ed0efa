import io
import json

import pytest

from edged.kit.log import Log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_record_is_one_json_line_with_its_ids() -> None:
    out = io.StringIO()
    log = Log(stream=out, node="gw-a").bind(peer="gw-b")
    log.info('a "quoted"\nline')
    log.debug("unseen")
    [line] = out.getvalue().splitlines()
    record = json.loads(line)
    assert record.pop("time").endswith("+00:00")
    assert record == {"level": "info", "message": 'a "quoted"\nline', "node": "gw-a", "peer": "gw-b"}


def test_a_person_reads_text() -> None:
    out = Terminal()
    Log(stream=out, level="debug", node="gw-a").error("the disk is full")
    assert out.getvalue().rstrip().endswith("error   the disk is full  node=gw-a")


def test_an_unknown_level() -> None:
    with pytest.raises(ValueError, match="expected one of debug, info, warning, error"):
        Log(level="loud")
