"""A folder that looks like another month's is refused, unless it's said that it is this one's.

`STREAMFLOW_LONG_TESTS` draws hundreds of random months instead of a few.
"""

from __future__ import annotations

import csv
import os
import random
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests import tiny_case
from tests.statements import execute, history_at

import churn
from churn.generator import generate
from streamflow.errors import AsOfRefused, ContractViolation
from streamflow.history.ingest import IngestedMonth, ingest
from streamflow.history.ingestions import recorded_ingestions
from streamflow.history.months import months
from streamflow.history.staged.another_month import AnotherMonth, LaterDates, what_to_type
from streamflow.history.withdrawals.withdrawal import withdraw
from streamflow.operations.status import status
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.use_case import Generation, UseCase

USERS = 150
JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
TABLES = [table.name for table in churn.use_case.tables()]
EXAMPLES = 300 if os.environ.get("STREAMFLOW_LONG_TESTS") else 5


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    generate(Generation(folder, users=USERS, months=3, seed=3))
    return folder


@pytest.fixture
def database(ready: Platform) -> Database:
    return ready.database


def load(
    database: Database,
    folder: Path,
    as_of: date,
    really: bool = False,
    use_case: UseCase = churn.use_case,
    recorded_at: datetime = NOW,
) -> IngestedMonth:
    reports = folder.parent / "reports"
    return ingest(
        *(database, use_case, folder, as_of, recorded_at, NOW, "ada", reports), really=really
    )


def dates_after(folder: Path, as_of: date) -> list[str]:
    with (folder / "users.csv").open(newline="") as file:
        dates = [row["signup_date"] for row in csv.DictReader(file)]
    return [one for one in dates if one > str(as_of)]


def test_each_month_is_taken_as_its_own(database: Database, generated: Path) -> None:
    for number, as_of in enumerate((JANUARY, FEBRUARY, MARCH)):
        done = load(database, generated / f"month_00{number}", as_of)
        assert [one.overridden or one.same_file for one in done.tables.values()] == [[]] * 6


def test_a_folder_with_dates_after_the_as_of_is_refused_with_each_of_them(
    database: Database, generated: Path
) -> None:
    february = generated / "month_001"
    later = dates_after(february, JANUARY)
    assert later

    with pytest.raises(ContractViolation) as refused:
        load(database, february, JANUARY)

    message, instead = refused.value.message, refused.value.next
    assert f"{len(later)} value(s)" in message
    assert "users.csv, line" in message
    assert f"column 'signup_date': '{later[0]}' breaks the rule" in message
    assert f"streamflow ingest {february} --as-of {FEBRUARY}`" in instead
    assert f"--as-of {JANUARY} --really" in instead
    (report,) = (generated / "reports").iterdir()
    assert len(report.read_text().splitlines()) == 1 + len(later)
    assert months(database, churn.use_case) == []


@pytest.mark.parametrize(
    ("as_of", "newest", "seems"),
    [
        (JANUARY, date(2024, 2, 3), FEBRUARY),
        (date(2023, 2, 28), FEBRUARY, FEBRUARY),
        (date(2024, 1, 14), date(2024, 1, 20), date(2024, 1, 20)),  # weeks
        (JANUARY, date(2042, 1, 3), None),  # a slip of the pen
        (JANUARY, NOW.date(), None),  # a month that hasn't ended
    ],
)
def test_the_month_that_files_seem_to_be_of(as_of: date, newest: date, seems: date | None) -> None:
    found = [LaterDates("users", "first", 2, as_of), LaterDates("users", "signup", 1, newest)]
    said = what_to_type(found, Path("a folder"), as_of, NOW)
    assert f"`streamflow ingest 'a folder' --as-of {as_of} --really`" in said
    assert ("seem to be" in said) == (seems is not None)
    assert seems is None or f"`streamflow ingest 'a folder' --as-of {seems}`" in said


def test_an_as_of_before_everybodys_first_day_is_refused(
    database: Database, generated: Path
) -> None:
    with pytest.raises(ContractViolation, match=f"{USERS} value.s. in"):
        load(database, generated / "month_000", date(2000, 1, 31))
    with pytest.raises(AsOfRefused, match="before 1900-01-01"):
        load(database, generated / "month_000", date(1, 1, 31), really=True)


def test_what_spoke_against_an_as_of_is_recorded_and_shown(
    ready: Platform, database: Database, generated: Path
) -> None:
    later = len(dates_after(generated / "month_001", JANUARY))

    done = load(database, generated / "month_001", JANUARY, really=True)

    (said,) = done.tables["users"].overridden
    assert said.startswith(f"{later} dates of 'signup_date' are after it")
    (recorded,) = recorded_ingestions(database, churn.use_case)
    assert recorded.overridden == [said]
    shown = {part.name: part.detail for part in status(ready.settings)}
    assert shown["ingestions"] == f"{done.ingestion_id} ({JANUARY}, by --really)"


def shuffled(folder: Path, new: Path) -> Path:
    """The same rows in another order, of one table as Parquet."""
    shutil.copytree(folder, new)
    for table in TABLES:
        header, *lines = (folder / f"{table}.csv").read_text().splitlines()
        random.Random(table).shuffle(lines)
        (new / f"{table}.csv").write_text("\n".join([header, *lines]) + "\n")
    labels = pandas.read_csv(new / "labels.csv")
    (new / "labels.csv").unlink()
    labels.to_parquet(new / "labels.parquet")
    return new


def test_the_rows_of_another_month_are_refused_in_whatever_form_they_come(
    database: Database, generated: Path, tmp_path: Path
) -> None:
    first = load(database, generated / "month_000", JANUARY)
    again = shuffled(generated / "month_000", tmp_path / "again")

    with pytest.raises(AnotherMonth) as refused:
        load(database, again, FEBRUARY)

    assert f"the rows of AS_OF {JANUARY}" in refused.value.message
    assert f"usage_agg_30d {USERS} of {USERS}" in refused.value.message
    assert f"streamflow withdraw {first.ingestion_id}" in refused.value.next
    assert months(database, churn.use_case) == [JANUARY]
    done = load(database, again, FEBRUARY, really=True)
    assert done.tables["users"].overridden == [
        f"the rows are those of AS_OF {JANUARY} (ingestion {first.ingestion_id})"
    ]
    # Neither month is another one from now on.
    for folder, as_of in ((generated / "month_000", JANUARY), (again, FEBRUARY)):
        assert not any(one.added for one in load(database, folder, as_of).tables.values())


def test_a_table_that_didnt_change_since_the_month_before_is_told_and_taken(
    database: Database, generated: Path, tmp_path: Path
) -> None:
    january, february = tmp_path / "january", tmp_path / "february"
    shutil.copytree(generated / "month_000", january)
    shutil.copytree(generated / "month_000", february)
    usage = pandas.read_csv(january / "usage_agg_30d.csv")
    usage["watch_hours_30d"] += 0.25
    usage.to_csv(february / "usage_agg_30d.csv", index=False)
    first = load(database, january, JANUARY)

    done = load(database, february, FEBRUARY)

    same = f"the file is that of AS_OF {JANUARY}, byte for byte (ingestion {first.ingestion_id})"
    assert {name: one.same_file for name, one in done.tables.items()} == {
        name: [] if name == "usage_agg_30d" else [same] for name in TABLES
    }


def test_what_was_withdrawn_speaks_against_no_month(database: Database, generated: Path) -> None:
    wrong = load(database, generated / "month_001", JANUARY, really=True)
    with pytest.raises(AnotherMonth):
        load(database, generated / "month_001", FEBRUARY)
    withdraw(database, churn.use_case, wrong.ingestion_id, "it was February", NOW, "ada")
    load(database, generated / "month_001", FEBRUARY)
    assert months(database, churn.use_case) == [FEBRUARY]


def test_entities_that_a_month_hadnt_before_are_counted(
    database: Database, generated: Path
) -> None:
    load(database, generated / "month_000", FEBRUARY, recorded_at=NOW - timedelta(days=1))
    done = load(database, generated / "month_001", FEBRUARY)
    assert done.tables["users"].new_entities == done.tables["users"].only_in_history > 0


# Against what plain sets of rows say.

MACHINES = ("m-1", "m-2", "m-3")
Files = dict[str, dict[str, int]]


@st.composite
def ingested(draw: st.DrawFn) -> list[tuple[date, Files]]:
    rows = st.dictionaries(st.sampled_from(MACHINES), st.integers(0, 1), min_size=1)
    found: list[tuple[date, Files]] = []
    for _ in range(draw(st.integers(2, 6))):
        as_of = draw(st.sampled_from((JANUARY, FEBRUARY, MARCH)))
        if found and draw(st.booleans()):  # what somebody has loaded before
            found.append((as_of, draw(st.sampled_from(found))[1]))
            continue
        machines = draw(rows)
        some = st.dictionaries(st.sampled_from(sorted(machines)), st.integers(0, 1), min_size=1)
        found.append(
            (as_of, {"machines": machines, "readings": draw(some), "failures": draw(some)})
        )
    return found


VALUES: dict[str, Callable[[int], tuple[object, ...]]] = {
    "machines": lambda value: (tiny_case.KINDS[value], value),
    "readings": lambda value: (20.0 + value, value, None),
    "failures": lambda value: (bool(value),),
}


def write(folder: Path, files: Files) -> Path:
    folder.mkdir()
    for table in tiny_case.tables():
        rows = [[one, *VALUES[table.name](value)] for one, value in files[table.name].items()]
        with (folder / f"{table.name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([list(table.contract.columns), *rows])
    return folder


@given(happened=ingested())
@hypothesis_settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.generate],
)
def test_a_folder_is_refused_if_another_month_alone_has_all_its_rows(
    happened: list[tuple[date, Files]],
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("months")
    known: dict[date, set[tuple[str, str, int]]] = {}
    with history_at(new_database(prepared_database), folder / "home") as database:
        for number, (as_of, files) in enumerate(happened):
            rows = {(name, *row) for name, table in files.items() for row in table.items()}
            others = {month for month, there in known.items() if rows <= there and month != as_of}
            expected = bool(others) and not rows <= known.get(as_of, set())
            moment = NOW - timedelta(days=30 - number)
            arguments = (database, write(folder / str(number), files), as_of)
            if expected:
                with pytest.raises(AnotherMonth, match=f"the rows of AS_OF {max(others)}"):
                    load(*arguments, use_case=tiny_case.use_case, recorded_at=moment)
            done = load(*arguments, expected, tiny_case.use_case, moment)
            assert bool(done.tables["machines"].overridden) == expected
            known.setdefault(as_of, set()).update(rows)
        query = "SELECT count(*) AS ingestions FROM streamflow.ingestions"
        assert execute(database, query).fetchone() == {"ingestions": len(happened)}
