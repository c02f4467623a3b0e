"""Quantiles of a month's values are the same values in PostgreSQL and in DuckDB."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamflow.columnar.session import Session
from streamflow.monitoring.statistics.bins import LEVELS
from streamflow.postgres.database import Database
from streamflow.postgres.queries import identifier, subquery


@pytest.mark.parametrize("rows", [1, 3, 150, 300, 450, 600])
def test_quantiles_are_of_the_same_ranks(database_url: str, tmp_path: Path, rows: int) -> None:
    numbers = f"(SELECT number, number::text AS id FROM generate_series(1, {rows}) AS of (number))"
    names = {
        "rows": subquery(numbers),
        "values": subquery("('number', number::double precision)"),
        "key": identifier("id"),
    }
    with Database(database_url) as database:
        session = Session(database, lambda *_: {}, "1GB", tmp_path)
        found = [
            one.row("feature_quantiles", names, levels=list(LEVELS), every=1)["quantiles"]
            for one in (database, session)
        ]
        session.close()
    assert found[0] == found[1]
    assert len(found[0]) == len(LEVELS)
