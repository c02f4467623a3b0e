"""DuckDB over Parquet files, without a database behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamflow.columnar.session import HistoryView, Session
from streamflow.errors import FeatureStoreUnavailable, InvalidSettings
from streamflow.postgres.database import Database
from streamflow.postgres.queries import identifier

MOMENT = datetime(2024, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
TYPES = {
    "user_id": "text",
    "as_of": "date",
    "event_timestamp": "timestamp with time zone",
    "recorded_at": "timestamp with time zone",
    "ingestion_id": "bigint",
    "fee": "double precision",
}


class Nobody(Database):
    """A database of which nothing is withdrawn."""

    def __init__(self) -> None:
        super().__init__("postgresql://nobody@localhost:1/none")

    def rows(self, name: str, *parts: Any, **values: object) -> list[dict[str, Any]]:
        assert name in ("any_withdrawals", "any_absences")
        return []


@contextmanager
def session(tmp_path: Path, **histories: HistoryView) -> Iterator[Session]:
    opened = Session(Nobody(), lambda *_: histories, "100MB", tmp_path / "spill")
    try:
        yield opened
    finally:
        opened.close()


def view(tmp_path: Path, *users: str) -> HistoryView:
    rows = [
        {"user_id": user, "as_of": MOMENT.date(), "event_timestamp": MOMENT, "recorded_at": MOMENT}
        for user in users
    ]
    file = tmp_path / "it's 1.parquet"
    pq.write_table(
        pa.Table.from_pylist([{**row, "ingestion_id": 1, "fee": -0.0} for row in rows]), file
    )
    return HistoryView(TYPES, [str(file)])


def entities(opened: Session, history: str) -> list[str]:
    names = {"key": identifier("user_id"), "history": identifier("churn", history)}
    values = {"as_of": date(2024, 1, 31), "known_at": MOMENT}
    rows = opened.rows("entities_at", names, **values)
    assert all(row["event_timestamp"] == MOMENT for row in rows)
    query = opened.render("entities_at", names, **values)
    assert sum(batch.num_rows for batch in opened.batches(query)) == len(rows)
    return sorted(row["user_id"] for row in rows)


def test_a_named_query_reads_the_files_of_each_table(tmp_path: Path) -> None:
    nothing = HistoryView(TYPES, [])
    with session(tmp_path, users_history=view(tmp_path, "b", "ä"), bills_history=nothing) as opened:
        opened.refresh("churn")
        assert entities(opened, "users_history") == ["b", "ä"]
        assert entities(opened, "bills_history") == []
        assert len([*(tmp_path / "spill").iterdir()]) == 1
    assert [*(tmp_path / "spill").iterdir()] == []


def test_new_files_are_seen_after_a_refresh(tmp_path: Path) -> None:
    with session(tmp_path, users_history=view(tmp_path, "a")) as opened:
        opened.refresh("churn")
        assert entities(opened, "users_history") == ["a"]
        view(tmp_path, "a", "c")
        opened.refresh("churn")
        assert entities(opened, "users_history") == ["a", "c"]


def test_a_file_that_is_gone_is_told_with_what_to_do(tmp_path: Path) -> None:
    with session(tmp_path, users_history=view(tmp_path, "a")) as opened:
        opened.refresh("churn")
        (tmp_path / "it's 1.parquet").unlink()
        with pytest.raises(FeatureStoreUnavailable) as raised:
            entities(opened, "users_history")
    assert "it's 1.parquet" in raised.value.message
    assert "STREAMFLOW_ENGINE=postgres" in raised.value.next


def test_names_that_differ_by_case_are_refused(tmp_path: Path) -> None:
    columns = HistoryView({**TYPES, "Fee": "bigint"}, [])
    with (
        session(tmp_path, users_history=columns) as opened,
        pytest.raises(InvalidSettings, match="'fee' and 'Fee'"),
    ):
        opened.refresh("churn")
    tables = {"users_history": HistoryView(TYPES, []), "Users_history": HistoryView(TYPES, [])}
    with (
        session(tmp_path, **tables) as opened,
        pytest.raises(InvalidSettings, match="'users_history' and 'Users_history'"),
    ):
        opened.refresh("churn")


def test_types_of_postgresql_are_types_here(tmp_path: Path) -> None:
    with session(tmp_path, users_history=view(tmp_path, "a")) as opened:
        opened.refresh("churn")
        query = (
            "SELECT CASE WHEN fee = trunc(fee) THEN fee::bigint END::double precision AS fee, "
            "as_of::text AS day FROM churn.users_history"
        )
        (batch,) = opened.batches(query)
    assert batch.to_pylist() == [{"fee": 0.0, "day": "2024-01-31"}]
