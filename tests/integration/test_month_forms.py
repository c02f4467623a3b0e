"""A month's files in the forms in which others write them: loaded as what they mean, or refused."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from tests.statements import execute

from churn import use_case
from churn.generator import generate
from streamflow.errors import ContractViolation, MissingFiles
from streamflow.history.ingest import IngestedMonth, ingest
from streamflow.platform import Platform
from streamflow.use_case import Generation

JANUARY = date(2024, 1, 31)
NOW = datetime(2024, 3, 15, 12, tzinfo=UTC)


@pytest.fixture
def month(tmp_path: Path) -> Path:
    generate(Generation(tmp_path, users=20, months=1, seed=3))
    return tmp_path / "month_000"


def load(ready: Platform, folder: Path) -> IngestedMonth:
    reports = folder.parent / "reports"
    return ingest(ready.database, use_case, folder, JANUARY, NOW, NOW, "ada", reports)


def refusal(ready: Platform, folder: Path) -> str:
    with pytest.raises(ContractViolation) as caught:
        load(ready, folder)
    there = execute(ready.database, "SELECT to_regnamespace('churn') AS it").fetchone()
    assert there == {"it": None}
    return caught.value.message


def as_parquet(folder: Path, table: str, **columns: Any) -> Path:
    """The table's file as Parquet, with other columns in place of its own."""
    content = pa.csv.read_csv(folder / f"{table}.csv")
    for name, values in columns.items():
        made = values(content.column(name)) if callable(values) else values
        content = content.set_column(content.column_names.index(name), name, made)
    path = folder / f"{table}.parquet"
    pa.parquet.write_table(content, path, use_dictionary=False)
    (folder / f"{table}.csv").unlink()
    return path


def test_a_column_of_floats_without_a_value_is_null_in_history(
    ready: Platform, month: Path
) -> None:
    nothing = pa.array([float("nan")] * 20)
    as_parquet(month, "subscriptions", plan_stream_tv=nothing)
    load(ready, month)
    query = "SELECT count(*) AS rows, count(plan_stream_tv) AS known "
    query += "FROM churn.subscriptions_history"
    assert execute(ready.database, query).fetchone() == {"rows": 20, "known": 0}


def test_ids_in_arrow_s_other_forms_of_text_are_the_same_ids(ready: Platform, month: Path) -> None:
    load(ready, month)
    for table, form in (("users", pa.string_view()), ("labels", pa.large_string())):
        as_parquet(month, table, user_id=lambda ids, form=form: ids.cast(form))
    done = load(ready, month)
    assert {table.added for table in done.tables.values()} == {0}
    assert {table.unchanged for table in done.tables.values()} == {20}


OUTSIDE = pa.array([35_804_722, -719_528] * 10, pa.int32()).cast(pa.date32())
AFTERNOON = pa.array([datetime(2024, 1, 31, 13, 45, tzinfo=UTC)] * 20)
WRONG = [
    ("subscriptions", "paperless_billing", pa.array([1.0, 0.3, 2.0, -1.0] * 5), "'0.3'"),
    ("users", "signup_date", pa.array([45322] * 20, pa.int32()), "'45322'"),
    ("users", "signup_date", AFTERNOON, "13:45"),
    ("users", "signup_date", OUTSIDE, "'0000-01-01'"),
    ("payments_agg_90d", "failed_payments_90d", pa.array(["0x10"] * 20), "'0x10'"),
    ("labels", "churn_label", pa.array(["0", "1"] * 10).dictionary_encode(), "'0'"),
]


@pytest.mark.parametrize(("table", "column", "values", "shown"), WRONG)
def test_a_value_of_another_type_is_refused_with_its_place(
    ready: Platform, month: Path, table: str, column: str, values: Any, shown: str
) -> None:
    as_parquet(month, table, **{column: values})
    message = refusal(ready, month)
    assert f"{table}.parquet, line 3, column '{column}'" in message
    assert shown in message


def test_a_damaged_page_is_told_with_its_file_line_and_column(ready: Platform, month: Path) -> None:
    path = as_parquet(month, "users")
    content = path.read_bytes()
    path.write_bytes(content[:40] + b"\xff" * 80 + content[120:])
    assert "users.parquet, line 2, column 'user_id' breaks the rule: a column can be" in refusal(
        ready, month
    )


def test_a_file_with_another_separator_is_told_so_once(ready: Platform, month: Path) -> None:
    path = month / "labels.csv"
    path.write_text(path.read_text().replace(",", ";"))
    message = refusal(ready, month)
    assert message.startswith("1 value(s)")
    assert 'Table("labels", ..., read=Csv(separator=";"))' in message


def test_whole_numbers_written_as_floats_are_loaded(ready: Platform, month: Path) -> None:
    path = month / "payments_agg_90d.csv"
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    load(ready, month)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *([key, f"{count}.0"] for key, count in rows)])
    assert load(ready, month).tables["payments_agg_90d"].unchanged == 20


def test_a_compressed_file_is_loaded_as_what_is_in_it(ready: Platform, month: Path) -> None:
    load(ready, month)
    path = month / "labels.csv"
    (month / "labels.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert load(ready, month).tables["labels"].unchanged == 20


def test_another_compressed_file_is_told_instead_of_a_missing_one(
    ready: Platform, month: Path
) -> None:
    (month / "labels.csv").rename(month / "labels.csv.zip")
    with pytest.raises(MissingFiles, match=r"lacks labels\.csv\. There is 'labels\.csv\.zip'"):
        load(ready, month)
