"""What a use case from a stranger's files is: types, key, label, features, code, later months."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests import event_case
from tests.raw_months import RAW_MONTHS, write_csv, write_raw_month

from streamflow.errors import InvalidSettings, MissingFiles
from streamflow.history.contract_findings import contract_findings
from streamflow.scaffold import several_months
from streamflow.scaffold.draft import Proposal
from streamflow.scaffold.key_and_label import propose_key, propose_key_and_label, propose_label
from streamflow.scaffold.month_changes import month_changes
from streamflow.scaffold.names import plain_name
from streamflow.scaffold.package import package_files
from streamflow.scaffold.profile import Profile, profile
from streamflow.scaffold.proposal import propose
from streamflow.scaffold.raw_tables import raw_tables
from streamflow.scaffold.written import Told
from streamflow.use_case import Csv, UseCase
from streamflow.use_case.module import use_case_findings


def profiles_of(folder: Path, decimal: str | None = None, date: str | None = None) -> list[Profile]:
    return [profile(raw, Told(decimal, date)) for raw in raw_tables(folder)]


def proposal_of(folder: Path, name: str = "stranger", horizon: int = 0) -> Proposal:
    found = profiles_of(folder)
    return propose(name, found, *propose_key_and_label(found), horizon)


def table_of(tmp_path: Path, *rows: list[Any]) -> Profile:
    write_csv(tmp_path / "t.csv", rows)
    (found,) = profiles_of(tmp_path)
    return found


def kinds(found: Profile) -> dict[str, str]:
    return {one.name: one.kind for one in found.columns}


EXPECTED = {
    "bank": ("kunden_nr", "kuendigung.kuendigung", "kunden", 5),
    "machines": ("machine", "failures.failed", "machines", 4),
    "shops": ("shop", "closings.closed", "shops", 2),
    "students": ("student_id", "results.dropped_out", "students", 5),
    "telecom": ("customer_id", "telecom.churn", "telecom", 6),
}


@pytest.mark.parametrize("name", RAW_MONTHS)
def test_key_label_and_features_of_a_strangers_month_are_found(name: str, tmp_path: Path) -> None:
    found = proposal_of(write_raw_month(name, tmp_path))
    label = f"{found.label_table}.{found.label_column}"
    assert (found.join_key, label, found.entity_table, len(found.features)) == EXPECTED[name]


@pytest.fixture
def importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., UseCase]]:
    """Writes a package and imports its use case; it is forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    names: list[str] = []

    def import_package(proposal: Proposal) -> UseCase:
        package = tmp_path / proposal.name
        package.mkdir()
        for file, text in package_files(proposal, "data", "2024-01-31").items():
            (package / file).write_text(text, encoding="utf-8")
        names.append(proposal.name)
        found: UseCase = importlib.import_module(proposal.name).use_case
        return found

    yield import_package
    for module in [one for one in sys.modules if one.split(".")[0] in names]:
        del sys.modules[module]


@pytest.mark.parametrize("name", RAW_MONTHS)
def test_the_package_is_a_use_case_without_findings_that_its_own_month_fits(
    name: str, tmp_path: Path, importing: Callable[..., UseCase]
) -> None:
    month = write_raw_month(name, tmp_path / "data")
    use_case = importing(proposal_of(month, f"stranger_{name}"))
    assert use_case_findings(use_case) == []
    findings, tables = contract_findings(use_case)
    assert findings == []
    assert list(month_changes(tables, profiles_of(month))) == []


def test_how_values_are_written_is_found_by_every_row(tmp_path: Path) -> None:
    found = {one.raw.name: one.raw.read for one in profiles_of(write_raw_month("bank", tmp_path))}
    written = Csv(separator=";", encoding="cp1252")
    assert found == {
        "karten_umsaetze": replace(written, decimal=",", thousands="."),
        "kunden": replace(written, decimal=",", thousands=".", date="DD.MM.YYYY"),
        "kuendigung": replace(written, true=("Ja",), false=("Nein",)),
    }


def test_a_type_is_the_narrowest_that_the_last_row_has_too(tmp_path: Path) -> None:
    rows = [["id", "count", "share"], *([f"a{n}", n, n] for n in range(5000)), ["b", "1.5", "x"]]
    found = table_of(tmp_path, *rows)
    assert kinds(found) == {"id": "string", "count": "Float64", "share": "string"}
    assert found.column("count").evidence == "line 5002: '1.5' isn't a whole number"
    assert found.column("share").evidence == "line 5002: 'x' isn't a finite number"


def test_a_number_that_begins_with_a_zero_is_a_name(tmp_path: Path) -> None:
    found = table_of(tmp_path, ["zip", "n"], ["01067", "0"], ["80331", "10"])
    assert kinds(found) == {"zip": "string", "n": "Int64"}
    assert found.column("zip").evidence == "line 2: '01067' begins with a zero"


@pytest.mark.parametrize("null", ["NA", "n/a", "NULL", " ", "-", "?", "nan"])
def test_what_stands_for_no_value_among_numbers_is_null(tmp_path: Path, null: str) -> None:
    found = table_of(tmp_path, ["id", "n"], ["a", "1"], ["b", null], ["c", "3"])
    assert (kinds(found)["n"], found.column("n").nulls) == ("Int64", 1)
    assert null in found.raw.read.null


def test_a_comma_that_may_be_either_mark_is_told_and_can_be_said(tmp_path: Path) -> None:
    rows = [["id", "n"], ["a", "1,500"], ["b", "2,250"]]
    found = table_of(tmp_path, *rows)
    assert kinds(found)["n"] == "string"
    (unclear,) = found.unclear
    assert unclear.said == "t.csv, line 2, column 'n': '1,500' may be 1.500 or 1500"
    assert unclear.next == "--decimal , or --decimal ."
    (comma,), (point,) = profiles_of(tmp_path, ","), profiles_of(tmp_path, ".")
    assert (comma.column("n").highest, point.column("n").highest) == ("2.25", "2250")
    assert (comma.raw.read.thousands, point.raw.read.thousands) == ("", ",")


def test_a_day_that_may_be_a_month_is_told(tmp_path: Path) -> None:
    found = table_of(tmp_path, ["id", "day"], ["a", "01/02/2024"], ["b", "03/04/2024"])
    assert kinds(found)["day"] == "string"
    (unclear,) = found.unclear
    assert unclear.said == (
        "t.csv, line 2, column 'day': '01/02/2024' may be a date written as DD/MM/YYYY or "
        "MM/DD/YYYY"
    )
    (told,) = profiles_of(tmp_path, date="MM/DD/YYYY")
    assert (told.column("day").lowest, told.unclear) == ("2024-01-02", ())
    later = table_of(tmp_path, ["id", "day"], ["a", "01/02/2024"], ["b", "03/14/2024"])
    assert (kinds(later)["day"], later.raw.read.date) == ("date", "MM/DD/YYYY")


def test_a_column_that_tells_the_label_alone_is_named_and_kept(tmp_path: Path) -> None:
    rows = [[f"e{n}", n % 7, n % 2, f"no{n % 2}"] for n in range(200)]
    write_csv(tmp_path / "t.csv", [["id", "n", "churn", "reason"], *rows])
    found = proposal_of(tmp_path)
    assert "reason" in [one.name for one in found.features]
    (note,) = [one for one in found.notes if "nearly alone" in one]
    assert note.startswith("t.reason: tells the label nearly alone (AUC 1.000)")


def test_a_table_with_several_rows_of_an_entity_is_left_out_with_their_lines(
    tmp_path: Path,
) -> None:
    month = write_raw_month("telecom", tmp_path)
    events = [["customerID", "minutes"], ["0001-ABC", 3], ["0002-ABC", 4], ["0001-ABC", 5]]
    write_csv(month / "calls.csv", events)
    found = proposal_of(month)
    assert [one.name for one in found.tables] == ["telecom"]
    assert (
        "calls: left out, it has several rows per customerID, such as '0001-ABC' in lines 2 and 4; "
        "sum them up to one row" in found.notes
    )


def test_a_table_whose_key_has_another_name_is_found_by_its_values(tmp_path: Path) -> None:
    month = write_raw_month("telecom", tmp_path)
    keys = [f"{number:04}-ABC" for number in range(0, 300, 2)]
    write_csv(month / "visits.csv", [["who", "visits"], *([key, 3 + len(key)] for key in keys)])
    found = proposal_of(month)
    visits = next(one for one in found.tables if one.name == "visits")
    assert visits.names == {"who": "customer_id", "visits": "visits"}
    assert not visits.complete
    assert 'visits: 150 of 300 have no row; their features are null (absent="null")' in found.notes


def test_what_is_said_of_key_and_label_is_taken_or_refused_with_the_choices(
    tmp_path: Path,
) -> None:
    found = profiles_of(write_raw_month("telecom", tmp_path))
    assert propose_key(found, "customerID") == "customer_id"
    assert propose_label(found, "customer_id", "SeniorCitizen") == "telecom.senior_citizen"
    with pytest.raises(InvalidSettings, match="No file has a column 'nobody'") as refused:
        propose_key(found, "nobody")
    assert "--key" in refused.value.next
    with pytest.raises(InvalidSettings, match="'tenure' isn't a column with a few values"):
        propose_label(found, "customer_id", "tenure")


def test_a_later_month_is_held_against_the_contract_line_by_line(
    tmp_path: Path, importing: Callable[..., UseCase]
) -> None:
    use_case = importing(proposal_of(write_raw_month("telecom", tmp_path / "data"), "later"))
    later = tmp_path / "february"
    later.mkdir()
    text = (tmp_path / "data/telecom/telecom.csv").read_text()
    text = text.replace("Two year", "Ten year", 1).replace("gender", "sex", 1)
    (later / "telecom.csv").write_text(text)
    changes = list(month_changes(use_case.tables(), profiles_of(later)))
    assert [(one.column, one.what) for one in changes] == [
        ("sex", "a new column of text"),
        ("Contract", "new values 'Ten year'"),
        ("gender", "the file lacks the column"),
    ]
    assert changes[1].line == (
        '"contract": Column("string", Check.isin('
        '["Month-to-month", "One year", "Two year", "Ten year"])),'
    )


def test_a_later_month_of_events_is_held_against_their_columns(tmp_path: Path) -> None:
    march = event_case.stops(date(2024, 3, 31), 60)
    folder = event_case.write(tmp_path / "march", date(2024, 3, 31), march)
    tables = event_case.use_case.tables()
    assert list(month_changes(tables, profiles_of(folder))) == []
    text = (folder / "stops.csv").read_text().replace("stopped_at", "at", 1)
    (folder / "stops.csv").write_text(text)
    changes = [(one.column, one.line) for one in month_changes(tables, profiles_of(folder))]
    lacking = '"stopped_at": Column("datetime64[us, UTC]", nullable=True, required=False),'
    assert changes[-1] == ("stopped_at", lacking)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CustomerID", "customer_id"),
        ("Kunden-Nr.", "kunden_nr"),
        ("Kündigung (EUR)", "kuendigung_eur"),
        ("HTTP", "http"),
        ("Été 2024", "ete_2024"),
        ("2024", "table_2024"),
        ("名前", "table"),
    ],
)
def test_a_name_is_one_that_code_can_have(text: str, name: str) -> None:
    assert plain_name(text).strip("_") == name


def test_a_folder_without_tables_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingFiles, match="has no file whose name ends in"):
        raw_tables(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"PAR1nothing")
    with pytest.raises(MissingFiles, match=r"x\.parquet can't be read"):
        raw_tables(tmp_path)


def long_rows(written: list[str]) -> list[list[Any]]:
    rows: list[list[Any]] = [["Month", "shop", "sales", "closed"]]
    for number, month in enumerate(written):
        rows += [[month, f"s{shop}", shop * number, shop % 2] for shop in range(6)]
    return rows


@pytest.mark.parametrize("written", [["2024-01", "2024-02"], ["Jan 2024", "Feb 2024"]])
def test_a_column_of_months_is_found_and_a_key_is_one_in_each_month(
    tmp_path: Path, written: list[str]
) -> None:
    write_csv(tmp_path / "shops.csv", long_rows(written))
    write_csv(
        tmp_path / "cities.csv", [["shop", "city"], *([f"s{n}", "ab"[n % 2]] for n in range(6))]
    )
    found, profiles = several_months.profiles_of(tmp_path, tmp_path / "links")
    assert found is not None
    assert (found.months, found.options) == (
        (date(2024, 1, 31), date(2024, 2, 29)),
        "--as-of-from-column Month",
    )
    key = propose_key(profiles)
    assert (key, propose_label(profiles, key)) == ("shop", "shops.closed")
    made = propose("stranger", profiles, key, "shops.closed", 0)
    assert [(one.table, one.name) for one in made.features] == [
        ("cities", "city"),
        ("shops", "sales"),
    ]
    assert made.notes == ()


def test_months_in_names_of_folders_and_of_files_are_found(tmp_path: Path) -> None:
    links, folders, files = (tmp_path / name for name in ("links", "folders", "files"))
    for folder in (links, folders, files):
        folder.mkdir()
    for month in ("2024-01", "2024-02"):
        (folders / f"export {month}").mkdir()
        rows = [row[1:] for row in long_rows(["x"])]
        write_csv(folders / f"export {month}" / "shops.csv", rows)
        write_csv(files / f"shops_{month}.csv", rows)
    for folder in (folders, files):
        found, (shops,) = several_months.profiles_of(folder, links)
        assert found is not None
        assert found.months == (date(2024, 1, 31), date(2024, 2, 29))
        assert shops.column("shop").unique
        assert len(shops.raw.rows) == 12


def test_the_name_says_of_which_month_one_month_is_unless_its_day_is_told(tmp_path: Path) -> None:
    links, month = tmp_path / "links", tmp_path / "month"
    links.mkdir()
    month.mkdir()
    rows = [row[1:] for row in long_rows(["x"])]
    write_csv(month / "shops 2024-02.csv", rows)
    found, (shops,) = several_months.profiles_of(month, links)
    assert found is not None
    assert found.months == (date(2024, 2, 29),)
    assert found.options.startswith("--as-of-pattern ")
    assert (shops.raw.name, shops.raw.file) == ("shops", "shops")
    (tmp_path / "other").mkdir()
    told, (shops,) = several_months.profiles_of(month, tmp_path / "other", as_of=date(2024, 3, 31))
    assert (told, shops.raw.file) == (None, "shops 2024-02")


def test_a_column_of_months_says_more_than_the_name_of_a_file(tmp_path: Path) -> None:
    links, month = tmp_path / "links", tmp_path / "month"
    links.mkdir()
    month.mkdir()
    write_csv(month / "shops 2024-05.csv", long_rows(["2024-W01", "2024-W02", "2024-W03"]))
    found, (shops,) = several_months.profiles_of(month, links)
    assert found is not None
    assert found.months == (date(2024, 1, 7), date(2024, 1, 14), date(2024, 1, 21))
    assert (found.column, shops.raw.file) == ("Month", "shops 2024-05")


def test_a_label_of_a_few_states_is_yes_by_those_that_are_called_so_or_told(tmp_path: Path) -> None:
    states = ["active", "churned", "active", "left", "active"]
    rows = [[f"C-{n}", n, states[n % 5]] for n in range(40)]
    write_csv(tmp_path / "customers.csv", [["customer_no", "x", "status"], *rows])
    events = [["customer_no", "kind"], *([f"C-{n % 9}", "ab"[n % 2]] for n in range(60))]
    write_csv(tmp_path / "events.csv", events)
    found = profiles_of(tmp_path)
    label = propose_label(found, "customer_no")
    assert label == "customers.status"

    def means_yes(*told: str) -> set[object]:
        made = propose("stranger", found, "customer_no", label, 0, told)
        (customers,) = made.tables
        assert "several rows per customer_no" in made.notes[0]
        # The label's words are no rule for the table's other columns.
        assert (customers.read, customers.read_columns) == (Csv(), {})
        return {*made.positive}

    assert means_yes() == {"churned", "left"}
    assert means_yes("left") == {"left"}
    with pytest.raises(InvalidSettings, match="'gone' isn't a value of 'status'") as told:
        means_yes("gone")
    assert told.value.next == "Say some of: --positive active,churned,left."
