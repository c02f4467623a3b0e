"""Several months at once are the same history as month by month."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests import tiny_case
from tests.statements import execute

from streamflow.bootstrap import platform
from streamflow.errors import ContractViolation, MissingFiles
from streamflow.history.files import month_rows
from streamflow.history.files.month_file import read_batches
from streamflow.history.violations import Report
from streamflow.pipeline.ingest import (
    ingest,
    ingest_months,
    months_by_column,
    months_by_name,
)
from streamflow.platform import Platform
from streamflow.settings import load_settings
from streamflow.use_case import Csv, Generation, Table

if TYPE_CHECKING:
    import pyarrow as pa

MONTHS = [date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)]
NOW = datetime(2024, 9, 1, 12, tzinfo=UTC)
PATTERN = r"(?P<year>\d{4})-(?P<month>\d{2})"
History = dict[str, list[Any]]


@dataclass(frozen=True)
class Months:
    url: str
    folders: list[Path]
    expected: History


@contextmanager
def opened(url: str, home: Path) -> Iterator[Platform]:
    with platform(load_settings(home=home, database_url=url, use_case="tests.tiny_case")) as ready:
        yield ready


def history(ready: Platform) -> History:
    """All of it but the time of recording."""
    found = {}
    for table in tiny_case.tables():
        names = ", ".join(f'"{name}"' for name in table.contract.columns)
        query = f"SELECT as_of, ingestion_id, {names} FROM failures.{table.history} ORDER BY 1, 3"
        found[table.name] = execute(ready.database, query).fetchall()
    return found


@pytest.fixture(scope="module")
def months(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Months:
    """Three months as folders, and the history that they make one by one."""
    home = tmp_path_factory.mktemp("months")
    tiny_case.generate(Generation(home / "made", users=12, months=3, seed=3))
    folders = []
    for number, as_of in enumerate(MONTHS):
        (home / "made" / f"month_{number:03}").rename(home / f"export {as_of:%Y-%m}")
        folders.append(home / f"export {as_of:%Y-%m}")
    with opened(new_database(prepared_database), home / "one by one") as ready:
        for folder, as_of in zip(folders, MONTHS, strict=True):
            ingest(ready, folder, as_of, None, NOW, "test")
        return Months(ready.settings.database_url or "", folders, history(ready))


@pytest.fixture
def ready(
    new_database: Callable[..., str], prepared_database: str, tmp_path: Path
) -> Iterator[Platform]:
    with opened(new_database(prepared_database), tmp_path / "home") as fresh:
        yield fresh


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    folder = tmp_path / "staged"
    folder.mkdir()
    return folder


def long_files(months: Months, folder: Path, written: Callable[[date], str], *columns: str) -> Path:
    """One file per table with all months, the newest first, and their month beside them; it is in
    `columns`, which are parted by a comma."""
    folder.mkdir()
    for table in tiny_case.tables():
        rows: list[list[str]] = []
        for month, as_of in zip(reversed(months.folders), reversed(MONTHS), strict=True):
            with (month / f"{table.name}.csv").open(newline="", encoding="utf-8") as file:
                header, *those = csv.reader(file)
            rows += [[*written(as_of).split(","), *row] for row in those]
        with (folder / f"{table.name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([[*(columns or ["Month"]), *header], *rows])
    return folder


@pytest.mark.parametrize(
    "written",
    [
        lambda day: f"{day:%Y-%m}",
        lambda day: f"{day:%b %Y}",
        lambda day: f"{day:%Y-%m}-01",
    ],
)
def test_one_long_file_with_a_column_of_months_is_the_same_history(
    months: Months, ready: Platform, tmp_path: Path, staged: Path, written: Callable[[date], str]
) -> None:
    folder = long_files(months, tmp_path / "long", written)
    found = months_by_column(ready, folder, "Month", NOW, staged)
    assert [one.as_of for one in found] == MONTHS
    done = list(ingest_months(ready, found, None, NOW, "test"))
    assert [one.as_of for one in done] == MONTHS
    assert history(ready) == months.expected
    assert not any(table.same_file for one in done for table in one.tables.values())
    # Again, it adds nothing.
    again = list(ingest_months(ready, found, None, NOW, "test"))
    assert not any(table.added for one in again for table in one.tables.values())
    assert history(ready) == months.expected


def test_a_year_and_a_month_in_two_columns_are_the_same_history(
    months: Months, ready: Platform, tmp_path: Path, staged: Path
) -> None:
    written = "{:%Y,%m}".format
    folder = long_files(months, tmp_path / "long", written, "Year", "Month no.")
    found = months_by_column(ready, folder, "Year,Month no.", NOW, staged)
    list(ingest_months(ready, found, None, NOW, "test"))
    assert history(ready) == months.expected
    with pytest.raises(MissingFiles, match="both columns 'Years' and 'Month no'") as told:
        months_by_column(ready, folder, "Years, Month no", NOW, staged)
    assert "--as-of-from-column 'Year,Month no.'" in told.value.next
    folder = long_files(months, tmp_path / "wrong", "{:%Y,1%m}".format, "Year", "Month no.")
    with pytest.raises(ContractViolation, match="'2024-103' breaks the rule: a month is"):
        months_by_column(ready, folder, "Year,Month no.", NOW, staged)


def test_a_month_that_nobody_can_read_and_a_wrong_value_have_their_place_in_the_long_file(
    months: Months, ready: Platform, tmp_path: Path, staged: Path
) -> None:
    folder = long_files(months, tmp_path / "long", str)
    readings = folder / "readings.csv"
    text = readings.read_text().splitlines()
    text[20] = text[20].replace(text[20].split(",")[2], "warm", 1)
    readings.write_text("\n".join([*text, "soon,m-0001,60,0,True"]))
    with pytest.raises(ContractViolation, match=r"readings.csv, line 38, column 'Month': 'soon'"):
        months_by_column(ready, folder, "Month", NOW, staged)
    readings.write_text("\n".join(text))
    found = months_by_column(ready, folder, "Month", NOW, staged)
    done = []
    with pytest.raises(ContractViolation, match=r"readings.csv, line 21, column 'temperature_c'"):
        for one in ingest_months(ready, found, None, NOW, "test"):
            done.append(one.as_of)
    # January is there as a whole, February not at all.
    assert done == MONTHS[:1]
    assert {row["as_of"] for rows in history(ready).values() for row in rows} == {MONTHS[0]}
    with pytest.raises(MissingFiles, match="No file has a column 'month'") as told:
        months_by_column(ready, folder, "month", NOW, staged)
    assert "--as-of-from-column Month" in told.value.next


def test_several_folders_with_their_months_in_their_names_are_the_same_history(
    months: Months, ready: Platform, tmp_path: Path
) -> None:
    found = months_by_name([*reversed(months.folders)], PATTERN, tmp_path)
    list(ingest_months(ready, found, None, NOW, "test"))
    assert history(ready) == months.expected
    with pytest.raises(MissingFiles, match="has no month by the pattern"):
        months_by_name([tmp_path, *months.folders], PATTERN, tmp_path)


def test_one_folder_whose_files_have_their_months_in_their_names_is_the_same_history(
    months: Months, ready: Platform, tmp_path: Path
) -> None:
    folder, scratch = tmp_path / "all", tmp_path / "links"
    folder.mkdir()
    scratch.mkdir()
    for month, as_of in zip(months.folders, MONTHS, strict=True):
        for file in month.glob("*.csv"):
            (folder / f"{file.stem}_{as_of:%Y-%m}.csv").write_bytes(file.read_bytes())
    found = months_by_name([folder], PATTERN, scratch)
    list(ingest_months(ready, found, None, NOW, "test"))
    assert history(ready) == months.expected


def test_a_table_that_arrives_later_may_have_no_row_of_the_newest_month(
    months: Months, ready: Platform, tmp_path: Path, staged: Path
) -> None:
    folder = long_files(months, tmp_path / "long", str)
    failures = folder / "failures.csv"
    kept = [line for line in failures.read_text().splitlines() if "2024-03-31" not in line]
    failures.write_text("\n".join(kept))
    found = months_by_column(ready, folder, "Month", NOW, staged)
    with pytest.raises(ContractViolation, match="one row whose Month is that of 2024-03-31"):
        list(ingest_months(ready, found, None, NOW, "test"))
    tables = tuple(
        replace(one, arrives_later=True) if one.name == "failures" else one
        for one in tiny_case.tables()
    )
    later = replace(ready, use_case=replace(ready.use_case, tables=lambda: tables))
    done = list(ingest_months(later, found, None, NOW, "test"))
    assert "failures" not in done[-1].tables


def test_a_long_file_is_read_once_however_many_months_it_has(
    months: Months, ready: Platform, tmp_path: Path, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = long_files(months, tmp_path / "long", str)
    read: list[str] = []

    def counted(path: Path, table: Table, report: Report) -> Iterator[pa.RecordBatch]:
        read.append(path.name)
        return read_batches(path, table, report)

    monkeypatch.setattr(month_rows, "read_batches", counted)
    found = months_by_column(ready, folder, "Month", NOW, staged)
    # What was read is what is loaded, whatever becomes of the files.
    for file in folder.iterdir():
        header = file.read_text().splitlines()[0]
        file.write_text(f"{header}\n")
    list(ingest_months(ready, found, None, NOW, "test"))
    assert sorted(read) == sorted(f"{table.name}.csv" for table in tiny_case.tables())
    assert history(ready) == months.expected


def test_a_long_file_in_a_dialect_without_an_optional_column_is_the_same_history(
    months: Months, ready: Platform, tmp_path: Path, staged: Path
) -> None:
    from pandera.pandas import Column

    folder = long_files(months, tmp_path / "long", lambda day: f"{day:%m/%Y}")
    for file in folder.iterdir():
        with file.open(newline="", encoding="utf-8") as there:
            rows = list(csv.reader(there))
        with gzip.open(f"{file}.gz", "wt", newline="", encoding="utf-16") as other:
            other.write("Bericht über alle Monate\n")
            csv.writer(other, delimiter=";").writerows([*rows, ["Summe"]])
        file.unlink()

    def tables() -> tuple[Table, ...]:
        form = Csv(separator=";", encoding="utf-16", skip_lines=1, total_rows=("Summe",))
        more = {"extra": Column("Float64", nullable=True, required=False)}
        return tuple(
            replace(one, read=form, contract=one.contract.add_columns(more))
            for one in tiny_case.tables()
        )

    other = replace(ready, use_case=replace(ready.use_case, tables=tables))
    found = months_by_column(other, folder, "Month", NOW, staged)
    list(ingest_months(other, found, None, NOW, "test"))
    assert history(ready) == months.expected


def test_rows_that_cant_be_read_are_told_before_any_month_is_loaded(
    months: Months, ready: Platform, tmp_path: Path, staged: Path
) -> None:
    folder = long_files(months, tmp_path / "long", str)
    with (folder / "readings.csv").open("a") as file:
        file.write("2024-01-31,m-0001\n")
    with pytest.raises(ContractViolation, match=r"readings.csv, line 38: '2024-01-31,m-0001'"):
        months_by_column(ready, folder, "Month", NOW, staged)
