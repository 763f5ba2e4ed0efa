import io
import json
import stat
from contextlib import closing
from pathlib import Path
from random import Random

import apsw
import pytest

from edged.errors import StorageError
from edged.kit.log import Log
from edged.store.opening import SUSPECT, open_connections, reopen, suspect
from edged.store.table import Table
from edged.wire.sync import BODY, Register

NOW = 1_786_017_600.0  # 2026-08-06T12:00:00Z
ASIDE = "store.db.damaged-20260806T120000Z"


def rescue(damaged: Path, fresh: apsw.Connection) -> str:
    """Takes over one row: who takes all is `salvage`."""
    Table(fresh, "site").replace(register("saved"), 1)
    return "one register taken over"


def register(name: str) -> Register:
    return Register("widgets", "default", name, BODY, "u", "site/gw-a:1", 1, 1, b"{}" * 500)


class Site:
    """A path, and what was said of it."""

    def __init__(self, path: Path) -> None:
        self.path, self.stream = path, io.StringIO()

    def open(self) -> tuple[apsw.Connection, apsw.Connection]:
        return open_connections(self.path, rescue, NOW, Log(stream=self.stream))

    def names(self) -> list[str]:
        writer, reader = self.open()
        with closing(writer), closing(reader):
            return [at[3] for at, _ in Table(reader, "site").pairs("widgets", None)]

    def fill(self, count: int = 50) -> None:
        writer, reader = self.open()
        with closing(writer), closing(reader), writer:
            for number in range(count):
                Table(writer, "site").replace(register(f"p{number:03}"), number + 1)

    @property
    def said(self) -> list[str]:
        return [f"{line['level']}: {line['message']}" for line in map(json.loads, self.stream.getvalue().splitlines())]

    @property
    def files(self) -> list[str]:
        return sorted(each.name for each in self.path.parent.iterdir())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "deep" / "store.db")


def test_a_new_file_is_for_its_owner_only(site: Site) -> None:
    site.fill()
    assert stat.S_IMODE(site.path.stat().st_mode) == 0o600
    assert len(site.names()) == 50
    assert (site.said, site.files) == ([], ["store.db"])


def test_the_reader_only_reads(site: Site) -> None:
    writer, reader = site.open()
    with closing(writer), closing(reader), pytest.raises(apsw.ReadOnlyError):
        reader.execute("DELETE FROM registers").fetchall()


@pytest.mark.parametrize(
    "content", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 4096, b"SQLite format 3\x00"]
)
def test_what_is_no_database_is_set_aside(site: Site, content: bytes) -> None:
    site.path.parent.mkdir()
    site.path.write_bytes(content)
    assert site.names() == ["saved"]
    assert site.files == ["store.db", ASIDE]
    assert site.path.with_name(ASIDE).read_bytes() == content
    assert stat.S_IMODE(site.path.stat().st_mode) == 0o600
    first, second = site.said
    assert first.startswith(f"error: {site.path} is damaged (the file is damaged")
    assert second.startswith(f"error: the damaged store is kept as {site.path.with_name(ASIDE)}; one register taken over")


def test_an_empty_file_is_a_new_one(site: Site) -> None:
    site.path.parent.mkdir()
    site.path.write_bytes(b"")
    assert site.names() == []
    assert site.said == []


def test_tables_that_are_not_ours_are_damage(site: Site) -> None:
    site.path.parent.mkdir()
    with closing(apsw.Connection(str(site.path))) as connection:
        connection.execute("CREATE TABLE registers (a)").fetchall()
    assert site.names() == ["saved"]
    assert "already exists" in site.said[0]


def test_after_an_unclean_end_all_pages_are_looked_at(site: Site) -> None:
    site.fill()
    noise = bytearray(site.path.read_bytes())
    noise[-8192:] = Random(1).randbytes(8192)
    site.path.write_bytes(noise)
    left = site.path.with_name("store.db-wal")
    left.write_bytes(b"a log that is none")
    assert site.names() == ["saved"]
    assert site.path.with_name(ASIDE).read_bytes() == noise


def test_a_suspected_file_is_looked_at_once(site: Site) -> None:
    site.fill()
    suspect(site.path, "the file is damaged (database disk image is malformed)")
    assert len(site.names()) == 50
    assert site.said == [f"warning: {site.path} was suspected to be damaged, and is whole"]
    assert not site.path.with_name(site.path.name + SUSPECT).exists()
    assert len(site.names()) == 50
    assert len(site.said) == 1


def test_a_suspected_file_that_is_damaged_is_set_aside(site: Site) -> None:
    site.fill(2000)
    noise = bytearray(site.path.read_bytes())
    middle = len(noise) // 2 // 4096 * 4096
    noise[middle : middle + 4096] = Random(1).randbytes(4096)
    site.path.write_bytes(noise)
    suspect(site.path, "x")
    assert site.names() == ["saved"]
    assert site.files == ["store.db", ASIDE]


def test_what_the_disk_refuses_is_no_damage(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"File exists|Not a directory"):
        open_connections(tmp_path / "file" / "store.db", rescue, NOW, Log(stream=site.stream))
    site.path.mkdir(parents=True)
    with pytest.raises(StorageError, match="Is a directory"):
        site.open()


def test_a_newer_schema_is_refused_and_left_alone(site: Site) -> None:
    site.path.parent.mkdir()
    with closing(apsw.Connection(str(site.path))) as connection:
        connection.pragma("user_version", 99)
    with pytest.raises(StorageError, match="made by a newer edged"):
        site.open()
    assert site.files == ["store.db"]


def test_another_connection(site: Site) -> None:
    site.fill(1)
    with closing(reopen(site.path)) as connection:
        assert connection.pragma("synchronous") == 2
    site.path.write_bytes(b"noise" * 1000)
    with pytest.raises(apsw.NotADBError):
        reopen(site.path)
