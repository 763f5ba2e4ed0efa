import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

import edged.model
from edged.model.fields import FILES, fields, has, is_struct
from edged.model.kinds import KINDS, Row
from edged.model.meta import Part

HOME = Path(edged.model.__file__).parent
LEAVES = {"string", "boolean", "int32", "int64", "number", "any", "bytes", "Time", "MicroTime", "Quantity", "IntOrString"}
TABLES = {file: json.loads((HOME / file).read_text()) for file in FILES}


def test_the_tables_are_small_and_say_nothing_twice() -> None:
    assert sum((HOME / file).stat().st_size for file in FILES) < 48_000
    names = [name for table in TABLES.values() for name in table]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("file", FILES)
def test_every_type_that_is_named_exists(file: str) -> None:
    for owner, row in TABLES[file].items():
        for field, written in row.items():
            name = re.sub(r"^(\[\]|\{\})*", "", written.rstrip("!"))
            assert name in LEAVES or is_struct(name), f"{owner}.{field}: {written}"


def test_required_fields_are_marked() -> None:
    assert fields("Container").required == ("name",)
    assert fields("Container").types["name"] == "string"
    assert set(fields("DeploymentSpec").required) == {"selector", "template"}


def test_where_a_kind_has_a_field() -> None:
    for path in ("spec.nodeName", "metadata.labels.any", "status.phase", "spec.containers"):
        assert has("Pod", path.split(".")), path
    for path in ("spec.nodename", "nothing", "spec.containers.name", "metadata.name.first"):
        assert not has("Pod", path.split(".")), path


def test_an_unknown_type_has_no_row() -> None:
    assert not is_struct("Nonsense")
    with pytest.raises(KeyError):
        fields("Nonsense")


def _struct_in(annotation: Any) -> type[Part] | None:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    return next((found for argument in get_args(annotation) if (found := _struct_in(argument))), None)


def _missing(struct: type[Part], of: str, path: str) -> list[str]:
    missing = []
    types = fields(of).types
    for field in msgspec.structs.fields(struct):
        where = f"{path}.{field.encode_name}"
        if field.encode_name not in types:
            missing.append(where)
            continue
        below, kind = _struct_in(field.type), types[field.encode_name].removeprefix("[]")
        if below is not None and is_struct(kind):
            missing += _missing(below, kind, where)
    return missing


# One struct serves all conditions; each kind of condition has some of its fields.
OF_OTHER_CONDITIONS = re.compile(r".*\.conditions\.(lastHeartbeatTime|lastUpdateTime)")


@pytest.mark.parametrize("row", KINDS, ids=lambda row: row.kind)
def test_what_edged_acts_on_is_in_the_table(row: Row) -> None:
    missing = _missing(row.acts, row.kind, row.kind)
    assert [path for path in missing if not OF_OTHER_CONDITIONS.fullmatch(path)] == []


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    script = (
        "import sys, edged.model.schema, edged.model.documents, edged.model.patch, edged.model.validate\n"
        "from edged.model import fields\n"
        "print(sorted({'yaml', 'jsonpatch', 'jsonpointer'} & set(sys.modules)), fields._table.cache_info().currsize)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=HOME.parent.parent)
    assert result.stdout.split("\n")[0] == "[] 0"
