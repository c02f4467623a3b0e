"""An error of the engine says what to do: what fits on no disk is no matter of `apply`."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from streamflow.errors import FeatureStoreUnavailable
from streamflow.features.engines.feature_errors import unavailable

SORTED = "SELECT * FROM (SELECT range, hash(range) AS one FROM range(4_000_000)) ORDER BY one"


def what_is_next(error: Exception) -> str:
    with pytest.raises(FeatureStoreUnavailable) as raised, unavailable("The join failed"):
        raise error
    assert str(raised.value).startswith("The join failed: ")
    return raised.value.next


def sorting(folder: Path, **config: str) -> Exception:
    """The error of a sort that has too little of something."""
    settings = {"memory_limit": "30MB", "threads": "1", "temp_directory": str(folder), **config}
    with duckdb.connect(config=settings) as connection, pytest.raises(duckdb.Error) as raised:
        connection.sql(SORTED).to_arrow_table()
    return raised.value


def test_a_disk_without_room_for_what_is_spilled_is_told(tmp_path: Path) -> None:
    error = sorting(tmp_path, max_temp_directory_size="5MB")
    assert "STREAMFLOW_ENGINE_SPILL" in what_is_next(error)
    full = duckdb.IOException('Could not write file "a.tmp": No space left on device')
    assert "STREAMFLOW_ENGINE_SPILL" in what_is_next(full)


def test_memory_that_is_short_is_told() -> None:
    error = duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate data")
    assert "STREAMFLOW_ENGINE_MEMORY" in what_is_next(error)


def test_any_other_error_asks_whether_definitions_were_applied() -> None:
    assert "streamflow apply" in what_is_next(KeyError("a view"))
