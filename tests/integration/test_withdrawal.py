"""What is taken back was known before and isn't after: in history, in training sets, online.

`STREAMFLOW_LONG_TESTS` draws hundreds of random histories instead of a few.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql
from tests import tiny_case
from tests.statements import execute, history_at
from tests.training_tables import data_hash

from streamflow.errors import AsOfRefused, RecordedAtRefused
from streamflow.features import definitions, feature_store, materialization, point_in_time
from streamflow.features.online_history import OnlineHistory
from streamflow.history.append import IngestedTable
from streamflow.history.ingest import IngestedMonth, ingest
from streamflow.history.months import months
from streamflow.history.withdrawals.known_rows import known_rows
from streamflow.history.withdrawals.withdrawal import UnknownIngestion, Withdrawn, withdraw
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.settings import Settings, load_settings
from streamflow.use_case import Generation

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
FIRST = datetime(2024, 3, 10, 6, tzinfo=UTC)
NOW = datetime(2024, 9, 1, 12, tzinfo=UTC)
MACHINES = ("m-1", "m-2", "m-3")
TABLES = ("machines", "readings", "failures")
EXAMPLES = 400 if os.environ.get("STREAMFLOW_LONG_TESTS") else 6

use_case = tiny_case.use_case


def day(number: int) -> datetime:
    return FIRST + timedelta(days=number)


# Against what a plain list of events says.


@dataclass(frozen=True)
class Event:
    """Something that is done to history at `day(number)`.

    `files` have by table and machine a value, which stands for a row; without files, the ingestion
    of the event `withdraws` is withdrawn.
    """

    as_of: date = JANUARY
    complete: bool = False
    files: dict[str, dict[str, int]] = field(default_factory=dict)
    withdraws: int | None = None


@st.composite
def events(draw: st.DrawFn) -> list[Event]:
    found: list[Event] = []
    ingestions: list[int] = []
    for number in range(draw(st.integers(3, 9))):
        if ingestions and draw(st.integers(0, 2)) == 0:
            found.append(Event(withdraws=draw(st.sampled_from(ingestions))))
            continue
        values = st.dictionaries(st.sampled_from(MACHINES), st.integers(0, 2), min_size=1)
        machines = draw(values)
        some = st.dictionaries(st.sampled_from(sorted(machines)), st.integers(0, 1), min_size=1)
        found.append(
            Event(
                draw(st.sampled_from((JANUARY, JANUARY, FEBRUARY))),
                draw(st.booleans()),
                {"machines": machines, "readings": draw(some), "failures": draw(some)},
            )
        )
        ingestions.append(number)
    return found


State = dict[tuple[str, date, str], int]


class Told:
    """What was known at each moment, by replaying the events one by one."""

    def __init__(self) -> None:
        # By event: per (table, as_of, machine) the value that it added; None if it said absent.
        self.added: dict[int, dict[tuple[str, date, str], int | None]] = {}
        self.withdrawn: dict[int, int] = {}

    def add(self, number: int, event: Event) -> None:
        if event.withdraws is not None:
            self.withdrawn.setdefault(event.withdraws, number)
            return
        before, new = self.at(number), self.added.setdefault(number, {})
        for table, rows in event.files.items():
            for machine, value in rows.items():
                if before.get((table, event.as_of, machine)) != value:
                    new[table, event.as_of, machine] = value
            for known_table, as_of, machine in before:
                there = (known_table, as_of) == (table, event.as_of)
                if event.complete and there and machine not in rows:
                    new[table, as_of, machine] = None

    def at(self, moment: int) -> State:
        state: dict[tuple[str, date, str], int | None] = {}
        for number, rows in sorted(self.added.items()):
            if number <= moment and not self.withdrawn.get(number, moment + 1) <= moment:
                state |= rows
        return {one: value for one, value in state.items() if value is not None}


VALUES = {
    "machines": lambda value: (tiny_case.KINDS[value], value),
    "readings": lambda value: (20.0 + value, value, None),
    "failures": lambda value: (bool(value),),
}
COLUMNS = {"machines": "age_weeks", "readings": "alarms", "failures": "fails::int"}


def write(folder: Path, files: dict[str, dict[str, int]]) -> Path:
    folder.mkdir(parents=True)
    for table in tiny_case.tables():
        rows = [
            [machine, *VALUES[table.name](value)]  # type: ignore[no-untyped-call]
            for machine, value in files[table.name].items()
        ]
        with (folder / f"{table.name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([list(table.contract.columns), *rows])
    return folder


def known(database: Database, moment: datetime) -> State:
    """What history says at a moment, by its own words."""
    found: State = {}
    for table in TABLES:
        query = sql.SQL(
            "SELECT DISTINCT ON (machine_id, as_of) machine_id, as_of, {} AS value "
            "FROM {} AS history WHERE recorded_at <= {} "
            "ORDER BY machine_id, as_of, recorded_at DESC"
        ).format(
            sql.SQL(COLUMNS[table]),
            known_rows(database, use_case, f"{table}_history", moment),
            sql.Literal(moment),
        )
        for row in execute(database, query).fetchall():
            found[table, row["as_of"], row["machine_id"]] = row["value"]
    return found


def both(*values: int) -> dict[str, dict[str, int]]:
    """The same machines in every table, with a value each that differs in all but `machines`."""
    others = dict(zip(MACHINES, values, strict=False))
    return {"machines": dict.fromkeys(others, 0), "readings": others, "failures": others}


@given(happened=events())
# Rows are left of machines that aren't known any more.
@example(
    happened=[
        *(Event(files=both(0, 0)), Event(files=both(1, 1)), Event(withdraws=0)),
        Event(files=both(1)),
    ]
)
@hypothesis_settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate],
)
def test_at_each_moment_history_knows_what_the_events_until_then_say(
    happened: list[Event],
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    told, folder = Told(), tmp_path_factory.mktemp("events")
    ids: dict[int, int] = {}
    with history_at(new_database(prepared_database), folder / "home") as database:
        for number, event in enumerate(happened):
            if event.withdraws is None:
                files = write(folder / str(number), event.files)
                done = ingest(
                    *(database, use_case, files, event.as_of, day(number), NOW, "test", folder),
                    complete=event.complete,
                    really=True,  # a few rows may be another month's by chance
                )
                ids[number] = done.ingestion_id
                before = told.at(number)
            else:
                withdraw(database, use_case, ids[event.withdraws], "wrong", day(number), "test")
            told.add(number, event)
            if event.withdraws is None:
                assert counts(done) == expected_counts(event, told.added[number], before)
                there = [one for one in told.at(number) if one[1] == event.as_of]
                entities, *_ = of_tables = [
                    {machine for table, _, machine in there if table == name} for name in TABLES
                ]
                assert {name: one.without_row for name, one in done.tables.items()} == {
                    name: len(entities - found)
                    for name, found in zip(TABLES, of_tables, strict=True)
                }
        for moment in range(len(happened)):
            assert known(database, day(moment)) == told.at(moment)


def counts(done: IngestedMonth) -> dict[str, tuple[int, int, int]]:
    return {
        name: (table.added, table.only_in_history, table.absent)
        for name, table in done.tables.items()
    }


def expected_counts(
    event: Event, new: dict[tuple[str, date, str], int | None], before: State
) -> dict[str, tuple[int, int, int]]:
    found = {}
    for table, rows in event.files.items():
        there = {one for name, as_of, one in before if (name, as_of) == (table, event.as_of)}
        mine = [value for (name, _, _), value in new.items() if name == table]
        absent = len(there - rows.keys())
        found[table] = (
            sum(value is not None for value in mine),
            0 if event.complete else absent,
            absent if event.complete else 0,
        )
    return found


# One by one.


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    tiny_case.generate(Generation(folder, users=40, months=2, seed=3))
    # February has machines that January hasn't.
    tiny_case.generate(Generation(folder / "more", users=46, months=2, seed=3))
    return folder


@pytest.fixture
def settings(new_database: Callable[..., str], prepared_database: str, tmp_path: Path) -> Settings:
    url = new_database(prepared_database)
    return load_settings(home=tmp_path / "home", database_url=url, use_case="tests.tiny_case")


@pytest.fixture
def database(ready: Platform) -> Database:
    definitions.apply(feature_store.open_store(ready.database.url, use_case), use_case)
    return ready.database


def load(
    database: Database, folder: Path, number: int, as_of: date = JANUARY, complete: bool = False
) -> IngestedMonth:
    reports = folder.parent / "reports"
    return ingest(
        *(database, use_case, folder, as_of, day(number), NOW, "ada", reports), complete=complete
    )


def take_back(database: Database, done: IngestedMonth, number: int, why: str = "no") -> Withdrawn:
    return withdraw(database, use_case, done.ingestion_id, why, day(number), "ada")


def training_set(database: Database, number: int, as_of: date = JANUARY) -> str:
    found = point_in_time.assemble(database, use_case, [as_of], day(number))
    return data_hash(found.training_set)


def without(folder: Path, new: Path, machines: set[str]) -> Path:
    new.mkdir()
    for table in TABLES:
        lines = (folder / f"{table}.csv").read_text().splitlines()
        kept = [line for line in lines if line.split(",")[0] not in machines]
        (new / f"{table}.csv").write_text("\n".join(kept) + "\n")
    return new


def test_february_that_was_loaded_as_january_can_be_taken_back(
    database: Database, generated: Path
) -> None:
    january, february = generated / "month_000", generated / "more" / "month_001"
    wrong = load(database, february, 0)
    right = load(database, january, 1)
    mixed = training_set(database, 1)
    done = take_back(database, wrong, 2, why="it was February")
    assert not done.already
    assert done.tables["machines"].entities == 46
    load(database, january, 3)
    assert training_set(database, 1) == mixed  # as it was known then
    repaired = training_set(database, 3)
    assert repaired != mixed
    assert done.confirming == [right.ingestion_id] or all(
        table.unchanged == 0 for table in right.tables.values()
    )
    found = point_in_time.assemble(database, use_case, [JANUARY], day(3))
    assert len(found.training_set.entities) == 40
    assert wrong.ingestion_id not in [one.ingestion_id for one in found.ingestions]


def test_a_withdrawn_ingestion_leaves_what_was_known_before(
    database: Database, generated: Path, tmp_path: Path
) -> None:
    load(database, generated / "month_000", 0)
    before = training_set(database, 0)
    correction = load(database, generated / "month_001", 1)
    corrected = training_set(database, 1)
    assert corrected != before
    take_back(database, correction, 2)
    assert training_set(database, 2) == before
    assert training_set(database, 1) == corrected
    # The same folder again: its rows are new once more.
    again = load(database, generated / "month_001", 3)
    assert again.tables["readings"].added == correction.tables["readings"].added
    assert training_set(database, 3) == corrected


def test_withdrawing_twice_says_so_and_changes_nothing(database: Database, generated: Path) -> None:
    loaded = load(database, generated / "month_000", 0)
    first = take_back(database, loaded, 1, why="wrong")
    second = withdraw(database, use_case, loaded.ingestion_id, "again", day(2), "bob")
    assert second.already
    assert (second.recorded_at, second.withdrawn_by, second.why) == (day(1), "ada", "wrong")
    assert second.tables == first.tables
    rows = execute(database, "SELECT why FROM streamflow.withdrawals").fetchall()
    assert rows == [{"why": "wrong"}]


def test_an_unknown_ingestion_is_named_with_those_that_there_are(
    database: Database, generated: Path
) -> None:
    loaded = load(database, generated / "month_000", 0)
    with pytest.raises(UnknownIngestion, match=rf"no ingestion 77; .*{loaded.ingestion_id} \(2024"):
        withdraw(database, use_case, 77, "no", day(1), "ada")


def test_a_month_that_is_withdrawn_as_a_whole_is_no_month(
    database: Database, generated: Path
) -> None:
    loaded = load(database, generated / "month_000", 0)
    assert months(database, use_case) == [JANUARY]
    before = training_set(database, 0)
    take_back(database, loaded, 1)
    assert months(database, use_case) == []
    with pytest.raises(AsOfRefused, match="isn't known any more"):
        training_set(database, 1)
    assert training_set(database, 0) == before


def test_entities_that_a_complete_file_lacks_are_known_until_then(
    database: Database, generated: Path, tmp_path: Path
) -> None:
    january = generated / "month_000"
    load(database, january, 0)
    before = training_set(database, 0)
    fewer = without(january, tmp_path / "fewer", {"m-0001", "m-0007"})
    told = load(database, fewer, 1)
    assert left(told) == {name: (2, 0) for name in TABLES}
    assert training_set(database, 1) == before
    done = load(database, fewer, 2, complete=True)
    assert left(done) == {name: (0, 2) for name in TABLES}
    found = point_in_time.assemble(database, use_case, [JANUARY], day(2))
    assert {"m-0001", "m-0007"}.isdisjoint(found.training_set.entities)
    assert len(found.training_set.entities) == 38
    assert training_set(database, 1) == before
    # Again, and nothing is said of them; they may come back.
    assert left(load(database, fewer, 3, complete=True)) == {name: (0, 0) for name in TABLES}
    load(database, january, 4)
    assert training_set(database, 4) == before
    take_back(database, done, 5)
    assert training_set(database, 5) == before


def left(done: IngestedMonth) -> dict[str, tuple[int, int]]:
    def of(table: IngestedTable) -> tuple[int, int]:
        return table.only_in_history, table.absent

    return {name: of(table) for name, table in done.tables.items()}


def test_withdrawing_a_complete_ingestion_brings_back_whom_it_lacked(
    database: Database, generated: Path, tmp_path: Path
) -> None:
    january = generated / "month_000"
    load(database, january, 0)
    before = training_set(database, 0)
    fewer = without(january, tmp_path / "fewer", {"m-0001"})
    done = load(database, fewer, 1, complete=True)
    assert training_set(database, 1) != before
    assert take_back(database, done, 2).tables["machines"].absent == 1
    assert training_set(database, 2) == before


def test_the_past_of_what_was_withdrawn_is_not_written_anew(
    database: Database, generated: Path, tmp_path: Path
) -> None:
    january = generated / "month_000"
    load(database, january, 3)
    with pytest.raises(RecordedAtRefused, match="2 row\\(s\\) of entities that the file lacks"):
        fewer = without(january, tmp_path / "fewer", {"m-0001", "m-0002"})
        load(database, fewer, 2, complete=True)
    wrong = load(database, generated / "month_001", 4)
    take_back(database, wrong, 6)
    with pytest.raises(RecordedAtRefused, match="isn't after that"):
        load(database, generated / "month_001", 5)
    assert load(database, generated / "month_001", 7).tables["readings"].added


def test_ids_that_were_withdrawn_hinder_no_id_that_looks_like_one(
    database: Database, generated: Path, tmp_path: Path
) -> None:
    odd = without(generated / "month_000", tmp_path / "odd", set())
    for table in TABLES:
        file = odd / f"{table}.csv"
        file.write_text(file.read_text().replace("m-0001,", "m-0001  x,"))
    take_back(database, load(database, odd, 0), 1)
    for table in TABLES:
        file = odd / f"{table}.csv"
        file.write_text(file.read_text().replace("m-0001  x,", "m-0001 x,"))
    assert load(database, odd, 2).tables["machines"].added == 40


def test_an_old_run_is_the_same_after_a_withdrawal(
    settings: Settings, database: Database, generated: Path
) -> None:
    load(database, generated / "month_000", 0)
    correction = load(database, generated / "month_001", 1)
    old = point_in_time.assemble(database, use_case, [JANUARY], day(1))
    take_back(database, correction, 2)
    again = point_in_time.assemble(database, use_case, [JANUARY], day(1))
    assert data_hash(again.training_set) == data_hash(old.training_set)
    assert again.ingestions == old.ingestions


# Online.


def online(database: Database) -> dict[str, tuple[date, int]]:
    """By machine the month and the alarms of its row online."""
    rows = execute(
        database,
        "SELECT machine_id, (event_timestamp AT TIME ZONE 'UTC')::date AS month, alarms "
        'FROM online."failures.readings_fv"',
    ).fetchall()
    return {row["machine_id"]: (row["month"], row["alarms"]) for row in rows}


def materialize(database: Database, as_of: date, number: int) -> None:
    materialization.materialize(database, use_case, as_of, day(number))


def replayed(database: Database, moment: datetime) -> dict[str, tuple[date, int]]:
    """What the online store had at a moment, by history alone."""
    history = OnlineHistory(database, use_case)
    types = {"alarms": "INT64"}
    state = next(history.possible_states("readings_fv", types, moment))
    rows = history.rows("readings_fv", types, [*MACHINES], state)
    return {
        machine: (row.event_timestamp.astimezone(UTC).date(), row.values["alarms"])  # type: ignore[misc]
        for machine, row in rows.items()
    }


def test_what_was_withdrawn_goes_offline_and_the_newest_that_counts_comes_back(
    database: Database, tmp_path: Path
) -> None:
    def loaded(number: int, as_of: date, machines: dict[str, int], complete: bool) -> IngestedMonth:
        files = write(tmp_path / str(number), dict.fromkeys(TABLES, machines))
        reports = tmp_path / "reports"
        return ingest(
            *(database, use_case, files, as_of, day(number), day(number), "ada", reports),
            complete=complete,
        )

    loaded(0, JANUARY, {"m-1": 0, "m-2": 1}, False)
    loaded(1, FEBRUARY, {"m-1": 1, "m-2": 0}, False)
    wrong = loaded(2, FEBRUARY, {"m-1": 0, "m-2": 1, "m-3": 1}, False)
    materialize(database, FEBRUARY, 3)
    first = {"m-1": (FEBRUARY, 0), "m-2": (FEBRUARY, 1), "m-3": (FEBRUARY, 1)}
    assert online(database) == first
    take_back(database, wrong, 4)
    assert online(database) == first
    # Of January, but February's rows that count again come back too.
    materialize(database, JANUARY, 5)
    second = {"m-1": (FEBRUARY, 1), "m-2": (FEBRUARY, 0)}
    assert online(database) == second
    complete = loaded(6, FEBRUARY, {"m-1": 1}, True)
    materialize(database, FEBRUARY, 7)
    third = {"m-1": (FEBRUARY, 1), "m-2": (JANUARY, 1)}
    assert online(database) == third
    take_back(database, complete, 8)
    materialize(database, FEBRUARY, 9)
    assert online(database) == second
    for state, number in ((first, 3), (second, 5), (third, 7), (second, 9)):
        assert replayed(database, day(number)) == state
