import io
import json
import logging

import pytest

from edged.kit.log import Log, libraries


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


def test_what_libraries_log_is_a_record_and_no_flood() -> None:
    out = io.StringIO()
    library = logging.getLogger("some.library")
    with libraries(Log(stream=out, node="gw-a")):
        library.info("unseen")
        for _ in range(20):
            try:
                raise OSError(24, "Too many open files")
            except OSError:
                library.error("accept fails; retrying in %s s", 0.1, exc_info=True)
        library.warning("something else")
    records = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [record["message"] for record in records] == [
        "some.library: accept fails; retrying in 0.1 s",
        "some.library: something else",
    ]
    assert records[0]["level"] == "warning"
    assert records[0]["node"] == "gw-a"
