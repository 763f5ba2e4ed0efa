import datetime
from pathlib import Path

import pytest

from edged.identity.authority import Authority

NOW = datetime.datetime(2026, 8, 6, 12, tzinfo=datetime.UTC)


@pytest.fixture
def now() -> datetime.datetime:
    return NOW


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "authority", "acme", NOW)
