"""Months of all kinds: what `init` proposes of each, or what it refuses and what it says then."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from tests.odd_months import ODD_MONTHS, Found

from streamflow.errors import InvalidSettings, MissingFiles, StreamFlowError
from streamflow.history.contract_findings import contract_findings
from streamflow.scaffold.draft import Proposal
from streamflow.scaffold.key_and_label import propose_key_and_label
from streamflow.scaffold.month_changes import month_changes
from streamflow.scaffold.package import package_files
from streamflow.scaffold.proposal import propose
from streamflow.scaffold.several_months import profiles_of
from streamflow.use_case import UseCase
from streamflow.use_case.module import use_case_findings


@pytest.fixture
def month(tmp_path: Path) -> Path:
    folder = tmp_path / "month"
    folder.mkdir()
    return folder


@pytest.fixture
def links(tmp_path: Path) -> Path:
    folder = tmp_path / "links"
    folder.mkdir()
    return folder


@pytest.fixture
def importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., UseCase]]:
    """Writes the package `odd` and imports its use case; it is forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)

    def import_package(proposal: Proposal) -> UseCase:
        (tmp_path / "odd").mkdir()
        for file, text in package_files(proposal, "data", "2024-01-31").items():
            (tmp_path / "odd" / file).write_text(text, encoding="utf-8")
        found: UseCase = importlib.import_module("odd").use_case
        return found

    yield import_package
    for module in [one for one in sys.modules if one.split(".")[0] == "odd"]:
        del sys.modules[module]


def proposed(folder: Path, links: Path, name: str = "stranger") -> Proposal:
    _, profiles = profiles_of(folder, links)
    chosen = propose_key_and_label(profiles)
    return propose(name, profiles, *chosen, 0, (), date(2026, 1, 31))


@pytest.mark.parametrize("write", ODD_MONTHS, ids=lambda one: one.__name__)
def test_key_label_and_features_of_an_odd_month(
    write: Callable[[Path], Found], month: Path, links: Path
) -> None:
    expected = write(month)
    found = proposed(month, links)
    label = f"{found.label_table}.{found.label_column}"
    features = {one.name for one in found.features}
    assert (found.join_key, label) == (expected.key, expected.label)
    assert features == {*expected.features}
    assert {*found.positive} == {*expected.positive}
    assert not any("nearly alone" in note for note in found.notes)


def in_two_columns(year: str, month: str, *rows: str) -> str:
    return "\n".join([f"car,{year},{month},km,sold", *rows, ""])


@pytest.mark.parametrize(
    ("year", "month", "of_january", "of_march", "months"),
    [
        ("year", "month", "2024,1", "2024,03", "2024-01-31 2024-03-31"),
        ("month", "Year", "Jan,2024", "March,2024", "2024-01-31 2024-03-31"),
        ("report_year", "ReportMonth", "2023,12", "2024,3", "2023-12-31 2024-03-31"),
        ("yyyy", "mm", "2024,01", "2024,03", "2024-01-31 2024-03-31"),
        ("jahr", "KW", "2024,1", "2024,10", "2024-01-07 2024-03-10"),
        ("year", "quarter", "2023,4", "2024,1", "2023-12-31 2024-03-31"),
        # The car's own year and month, and none that the file tells of.
        ("built_year", "month", "2024,1", "2024,3", ""),
        ("year", "month", "2024,1", "2024,13", ""),
        ("year", "month", "2024,1", "2024,", ""),
    ],
)
def test_a_year_and_a_month_in_two_columns_say_of_which_month_a_row_is(
    year: str, month: str, of_january: str, of_march: str, months: str, links: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "cars"
    folder.mkdir()
    rows = [f"c{n},{when},{n % 9},{n % 2}" for when in (of_january, of_march) for n in range(30)]
    (folder / "cars.csv").write_text(in_two_columns(year, month, *rows), encoding="utf-8")
    found, (table,) = profiles_of(folder, links)
    names = [one.name for one in table.columns]
    if not months:
        assert (found, names) == (None, ["car", year, month, "km", "sold"])
        return
    assert found is not None
    assert " ".join(map(str, found.months)) == months
    assert found.options.startswith("--as-of-from-column ")
    assert {*found.column.split(",")} == {year, month}
    assert (names, table.column("car").unique) == (["car", "km", "sold"], True)


def test_a_year_and_a_month_of_which_each_row_has_its_own_are_no_months(
    month: Path, links: Path
) -> None:
    rows = [f"c{n},{2000 + n % 20},{1 + n % 12},{n},{n % 2}" for n in range(40)]
    (month / "cars.csv").write_text(in_two_columns("year", "month", *rows), encoding="utf-8")
    assert profiles_of(month, links)[0] is None


def test_months_in_names_of_which_each_has_tables_of_its_own_are_told(
    month: Path, links: Path
) -> None:
    for name, file in (("2024-01", "customers.csv"), ("2024-02", "visits.csv")):
        (month / name).mkdir()
        (month / name / file).write_text(customers(), encoding="utf-8")
    with pytest.raises(MissingFiles, match=r"2024-01-31, 2024-02-29.*no table that is in two"):
        profiles_of(month, links)


def test_the_months_of_events_alone_are_none_of_their_customers(month: Path, links: Path) -> None:
    (month / "customers.csv").write_text(customers(), encoding="utf-8")
    rows = [f"c{n % 40},2024-0{1 + n % 3},{n}" for n in range(200)]
    bought = "\n".join(["customer_id,month,cents", *rows, ""])
    (month / "bought.csv").write_text(bought, encoding="utf-8")
    assert profiles_of(month, links)[0] is None
    once = [f"c{n},2024-0{1 + m},{n}" for m in range(3) for n in range(40)]
    bought = "\n".join(["customer_id,month,cents", *once, ""])
    (month / "bought.csv").write_text(bought, encoding="utf-8")
    found, _ = profiles_of(month, links)
    assert found is not None
    assert len(found.months) == 3


@pytest.mark.slow
@pytest.mark.parametrize("write", ODD_MONTHS, ids=lambda one: one.__name__)
def test_the_package_is_without_findings_and_its_own_month_fits_it(
    write: Callable[[Path], Found], month: Path, links: Path, importing: Callable[..., UseCase]
) -> None:
    write(month)
    use_case = importing(proposed(month, links, "odd"))
    findings, tables = contract_findings(use_case)
    assert (use_case_findings(use_case), findings) == ([], [])
    (links / "again").mkdir()
    _, profiles = profiles_of(month, links / "again")
    files = {(one.file or one.name, one.sheet) for one in tables}
    ours = [one for one in profiles if (one.raw.file, one.raw.sheet) in files]
    assert list(month_changes(tables, ours)) == []


def customers(*rows: str, header: str = "customer_id,visits,churned") -> str:
    lines = [f"c{n},{n % 13},{'yes' if n % 3 else 'no'}" for n in range(40)]
    return "\n".join([header, *lines, *rows, ""])


REFUSED: dict[str, tuple[dict[str, str], type[StreamFlowError], list[str], str]] = {
    "a row with a comma too many": (
        {"customers.csv": customers("c40,Smith, John,yes")},
        MissingFiles,
        ["1 row(s)", "customers.csv, line 42: 'c40,Smith, John,yes'", "3 values, not 4"],
        "stands in double quotes",
    ),
    "numbers that may be meant in two ways": (
        {"customers.csv": customers().replace(",1,", ',"1,500",').replace(",2,", ',"2,500",')},
        InvalidSettings,
        ["customers.csv, line 3, column 'visits': '1,500' may be 1.500 or 1500"],
        "Say --decimal , or --decimal .",
    ),
    "several columns that may be the label": (
        {"customers.csv": customers(header="customer_id,visits,member").replace(",5,", ",6,")}
        | {
            "more.csv": "customer_id,sex,mail\n"
            + "".join(f"c{n},{'mf'[n % 2]},{'yn'[n % 3 == 0]}\n" for n in range(40))
        },
        InvalidSettings,
        ["3 columns have two values", "none is called like a label"],
        "--label customers.member, more.sex, more.mail",
    ),
    "rows that nothing tells apart": (
        {"customers.csv": customers().replace("c", "k").replace("k1,", "k2,")},
        InvalidSettings,
        ["No column of texts or whole numbers has another value in each row"],
        "--key NAME",
    ),
    "keys without the zeros that they have elsewhere": (
        {
            "customers.csv": "id,visits\n" + "".join(f"{n:04},{n % 7}\n" for n in range(40)),
            "churned.csv": "id,churned\n" + "".join(f"{n},{n % 2}\n" for n in range(40)),
        },
        InvalidSettings,
        ["churned.csv, line 2, column 'id': '0' isn't in customers.csv", "which has '0000'"],
        "Write the keys in both files alike",
    ),
    "a file that ends in the middle": (
        {"customers.csv": customers("c40,")},
        MissingFiles,
        ["customers.csv, line 42: 'c40,'", "3 values, not 2"],
        "Then run the same `streamflow init` again",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_safe_answer_is_refused_with_its_place_and_what_to_say(
    what: str, month: Path, links: Path
) -> None:
    files, error, said, instead = REFUSED[what]
    for name, text in files.items():
        (month / name).write_text(text)
    with pytest.raises(error) as refused:
        proposed(month, links)
    for part in said:
        assert part in str(refused.value)
    assert instead in refused.value.next
