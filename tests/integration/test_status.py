"""What `streamflow status` says of a home whose PostgreSQL sleeps."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from tests import tiny_case

from streamflow.bootstrap import platform
from streamflow.operations.status import status
from streamflow.pipeline.ingest import ingest
from streamflow.postgres import embedded_server
from streamflow.settings import Settings, load_settings
from streamflow.use_case import Generation

JANUARY = date(2024, 1, 31)
NOW = datetime(2024, 2, 5, 9, tzinfo=UTC)


def shown(settings: Settings) -> dict[str, tuple[str, str]]:
    return {one.name: (one.state, one.detail) for one in status(settings)}


@pytest.mark.slow
def test_a_home_whose_database_sleeps_says_what_was_loaded(
    homes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STREAMFLOW_DATABASE_URL", raising=False)
    settings = load_settings(home=homes / "a sleeping home", use_case="tests.tiny_case")
    before = shown(settings)
    assert before["PostgreSQL"][0] == "asleep"
    assert "ingestions" not in before
    assert not embedded_server.has_cluster(settings.home)  # looking makes none
    tiny_case.generate(Generation(tmp_path, users=20, months=1, seed=5))
    with platform(settings) as opened:
        ingest(opened, tmp_path / "month_000", JANUARY, NOW, NOW, "test")
        assert shown(settings)["PostgreSQL"][0] == "up"
    after = shown(settings)
    assert after["PostgreSQL"][0] == "asleep"
    assert after["ingestions"] == ("1", "1 (2024-01-31)")
    assert after["months"] == ("1", "2024-01-31")
    assert embedded_server.server_pid(settings.home) is None
