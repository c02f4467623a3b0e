"""How months are written, and in which names they are."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.errors import InvalidSettings, MissingFiles
from streamflow.history.files.month_column import month_of, months_of_texts
from streamflow.history.files.month_names import compiled, months_by_folder, split_by_file
from streamflow.history.files.month_rows import joined_texts

FORMS = ["%Y-%m", "%Y/%m", "%Y%m", "%m/%Y", "%m.%Y", "%b %Y", "%B %Y", "%b-%Y", "%YM%m"]
DAYS = ["%Y-%m-%d", "%Y%m%d", "%d.%m.%Y", "%Y/%m/%d", "%Y-%m-%d 00:00:00", "%Y-%m-%dT00:00:00"]


@given(st.dates(date(1950, 1, 1), date(2099, 12, 31)))
def test_a_month_means_its_last_day_and_a_day_itself(day: date) -> None:
    for form in FORMS:
        meant = month_of(day.strftime(form))
        assert meant is not None, form
        as_of, is_day = meant
        assert (as_of.year, as_of.month, is_day) == (day.year, day.month, False)
        assert (as_of.toordinal() + 1) == _next_first(day).toordinal()
    for form in DAYS:
        assert month_of(day.strftime(form)) == (day, True), form


def _next_first(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "2024", "2024-13", "13/2024", "2024-02-30", "Q5 2024", "Foo 2024", "24-01"),
        *("2024-W54", "2024-W00", "W5", "2024-Q0"),
    ],
)
def test_what_means_no_month_isnt_guessed(text: str) -> None:
    assert month_of(text) is None


@given(st.dates(date(1950, 1, 1), date(2099, 12, 31)))
def test_a_week_means_its_sunday_and_a_quarter_its_last_day(day: date) -> None:
    year, week, of_week = day.isocalendar()
    sunday = date.fromordinal(day.toordinal() + 7 - of_week)
    for text in (
        f"{year}-W{week:02}",
        f"{year}W{week:02}",
        f"KW{week} {year}",
        f"W{week:02}/{year}",
    ):
        assert month_of(text) == (sunday, False), text
    quarter = (day.month - 1) // 3 + 1
    last = date(day.year, 3 * quarter, 31 if quarter in (1, 4) else 30)
    for text in (f"{day.year}-Q{quarter}", f"{day.year}Q{quarter}", f"Q{quarter} {day.year}"):
        assert month_of(text) == (last, False), text


@pytest.mark.parametrize(
    ("text", "meant"),
    [("Mai 2024", 5), ("2024-Dezember", 12), ("März 2024", 3), ("Oktober-2024", 10)],
)
def test_german_words_mean_months_too(text: str, meant: int) -> None:
    found = month_of(text)
    assert found is not None
    assert (found[0].month, found[1]) == (meant, False)


def test_what_two_columns_say_is_one_text_and_a_number_of_a_week_is_no_month() -> None:
    year = pa.array([2024, 2024, None])
    for name, of_year, joined in (
        ("month", ["1", " 12 ", "3"], ["2024-1", "2024-12", None]),
        ("Woche", ["1", "W12", "3"], ["2024-W1", "2024-W12", None]),
        ("Quarter", ["1", "Q4", "3"], ["2024-Q1", "2024-Q4", None]),
    ):
        assert joined_texts({"year": year, name: pa.array(of_year)}).to_pylist() == joined


def test_days_that_are_all_first_ones_stand_for_their_months() -> None:
    assert months_of_texts({"2024-01-01", "2024-02-01"}) == {
        "2024-01-01": date(2024, 1, 31),
        "2024-02-01": date(2024, 2, 29),
    }
    assert months_of_texts({"2024-01-01", "2024-01-08", "x"}) == {
        "2024-01-01": date(2024, 1, 1),
        "2024-01-08": date(2024, 1, 8),
    }


def test_a_pattern_needs_a_year_and_a_month() -> None:
    for wrong in ("(", r"(?P<year>\d+)", "2024"):
        with pytest.raises(InvalidSettings, match="--as-of-pattern"):
            compiled(wrong)


def test_two_folders_or_files_of_one_month_are_refused(tmp_path: Path) -> None:
    pattern = compiled(r"(?P<year>\d{4})-?(?P<month>\d{2})")
    folders = [tmp_path / name for name in ("a_2024-02", "b_202402", "c_2024-01")]
    found = months_by_folder(folders[1:], pattern)
    assert list(found) == [date(2024, 1, 31), date(2024, 2, 29)]
    with pytest.raises(MissingFiles, match="Two folders are of 2024-02-29"):
        months_by_folder(folders, pattern)
    files, links = tmp_path / "files", tmp_path / "links"
    for folder in (files, links):
        folder.mkdir()
    for name in ("2024-01 users.csv", "sales_2024-01_eu.csv.gz", "notes.txt"):
        (files / name).touch()
    split = split_by_file(files, pattern, links)
    assert sorted(one.name for one in split[date(2024, 1, 31)].iterdir()) == [
        "sales_eu.csv.gz",
        "users.csv",
    ]
    (files / "users_202401.csv").touch()
    with pytest.raises(MissingFiles, match=r"Two files of .* are 'users.csv' of 2024-01-31"):
        links = tmp_path / "others"
        links.mkdir()
        split_by_file(files, pattern, links)


def test_a_link_has_the_month_of_its_own_name(tmp_path: Path) -> None:
    pattern = compiled(r"(?P<year>\d{4})-(?P<month>\d{2})")
    folder, link = tmp_path / "2023-12", tmp_path / "2024-01"
    folder.mkdir()
    link.symlink_to(folder)
    same = folder / ".." / "2023-12"
    assert months_by_folder([link, same], pattern) == {
        date(2023, 12, 31): same,
        date(2024, 1, 31): link,
    }
