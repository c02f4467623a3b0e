"""Where history is: a setting that can't be meant is refused, with the line to set."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamflow.errors import InvalidSettings
from streamflow.settings import load_settings


def test_a_history_in_files_needs_an_engine_that_reads_files(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load_settings(home=tmp_path, history="file:///srv/history")
    assert refused.value.next == "Set STREAMFLOW_ENGINE=duckdb, or STREAMFLOW_ENGINE=spark."
    for engine in ("duckdb", "spark"):
        load_settings(home=tmp_path, history="file:///srv/history", engine=engine)


def test_an_object_store_is_read_by_duckdb_alone(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="object store") as refused:
        load_settings(home=tmp_path, history="s3://bucket/history", engine="spark")
    assert refused.value.next.startswith("Set STREAMFLOW_ENGINE=duckdb, or")
    load_settings(home=tmp_path, history="s3://bucket/history", engine="duckdb")


@pytest.mark.parametrize(
    "place", ["/srv/history", "file://srv", "s3://", "ftp://a/b", "file:///a?b", "file:///50%"]
)
def test_a_place_that_is_no_location_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(InvalidSettings, match="STREAMFLOW_HISTORY"):
        load_settings(home=tmp_path, history=place, engine="duckdb")
