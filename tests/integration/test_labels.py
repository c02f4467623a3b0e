"""Labels that come late, in parts, are corrected, or were recorded before they could be known."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pandera.pandas import Column, DataFrameSchema
from tests import tiny_case
from tests.statements import execute

from streamflow.errors import AsOfRefused, LabelsNotMatured
from streamflow.features import definitions, feature_store, point_in_time
from streamflow.features.point_in_time import Assembled
from streamflow.history.as_of import event_timestamp
from streamflow.history.ingest import IngestedMonth, ingest
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.settings import Settings, load_settings
from streamflow.use_case import Label, Table

FEBRUARY = date(2024, 2, 29)
EARLY = datetime(2024, 3, 1, 8, tzinfo=UTC)
MATURED = event_timestamp(FEBRUARY) + timedelta(days=30)
NOW = datetime(2024, 9, 1, 12, tzinfo=UTC)
MACHINES = [f"m-{number}" for number in range(12)]


def tables() -> tuple[Table, ...]:
    machines, readings, _ = tiny_case.tables()
    fails = Column("boolean", nullable=True)
    contract = DataFrameSchema({"machine_id": Column("string"), "fails": fails})
    return machines, readings, Table("failures", contract, arrives_later=True)


late = replace(
    tiny_case.use_case,
    tables=tables,
    label=Label("failures", "fails", horizon=timedelta(days=30)),
)
# As if the horizon had been forgotten, and was written into the use case later.
hasty = replace(late, label=Label("failures", "fails"))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return load_settings(
        home=settings.home, database_url=settings.database_url, use_case="tests.tiny_case"
    )


@pytest.fixture
def database(ready: Platform, tmp_path: Path) -> Database:
    """February's features, without labels."""
    definitions.apply(feature_store.open_store(ready.database.url, late), late)
    load(ready.database, tmp_path, EARLY, {})
    return ready.database


def load(
    database: Database,
    folder: Path,
    recorded_at: datetime,
    labels: dict[str, bool | None],
    hurried: bool = False,
) -> IngestedMonth:
    files = folder / f"{recorded_at:%m%dT%H}"
    files.mkdir(exist_ok=True)
    rows = {
        "machines": [[one, "lathe", number] for number, one in enumerate(MACHINES)],
        "readings": [[one, number, 0, "True"] for number, one in enumerate(MACHINES)],
        "failures": [[one, "" if label is None else label] for one, label in labels.items()],
    }
    for table in tables():
        if rows[table.name]:
            with (files / f"{table.name}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([list(table.contract.columns), *rows[table.name]])
    use_case = hasty if hurried else late
    return ingest(database, use_case, files, FEBRUARY, recorded_at, NOW, "test", folder)


def assemble(database: Database, known_at: datetime = NOW) -> Assembled:
    return point_in_time.assemble(database, late, [FEBRUARY], known_at)


def labels_of(assembled: Assembled) -> dict[str, bool]:
    found = assembled.training_set
    return dict(zip(found.entities, map(bool, found.labels), strict=True))


ANSWERS: dict[str, bool | None] = {one: number % 2 == 0 for number, one in enumerate(MACHINES)}


def test_labels_that_nobody_can_know_yet_are_refused_with_the_day_from_which_on(
    database: Database, tmp_path: Path
) -> None:
    for recorded_at in (EARLY, MATURED - timedelta(microseconds=1)):
        with pytest.raises(LabelsNotMatured, match=r"^12 label\(s\) of AS_OF 2024-02-29") as told:
            load(database, tmp_path, recorded_at, ANSWERS)
        assert f"from {MATURED.isoformat()} on" in told.value.message
    assert execute(database, "SELECT FROM failures.failures_history").fetchall() == []
    load(database, tmp_path, MATURED, ANSWERS)
    assert labels_of(assemble(database)) == ANSWERS


def test_that_a_label_isnt_known_yet_may_be_said_at_any_time(
    database: Database, tmp_path: Path
) -> None:
    load(database, tmp_path, EARLY + timedelta(hours=1), dict.fromkeys(MACHINES))
    load(database, tmp_path, MATURED, {**dict.fromkeys(MACHINES), "m-1": True, "m-2": False})
    found = assemble(database)
    assert labels_of(found) == {"m-1": True, "m-2": False}
    assert (found.without_label, found.null_labels, found.premature_labels) == (10, 10, 0)


def test_labels_come_in_parts_and_are_corrected_each_known_from_its_own_time(
    database: Database, tmp_path: Path
) -> None:
    load(database, tmp_path, MATURED, {"m-1": True, "m-2": False})
    load(database, tmp_path, MATURED + timedelta(days=1), {"m-2": True, "m-3": False})
    first, second = (assemble(database, MATURED + timedelta(days=day)) for day in (0, 1))
    assert labels_of(first) == {"m-1": True, "m-2": False}
    assert labels_of(second) == {"m-1": True, "m-2": True, "m-3": False}
    assert (first.without_label, second.without_label) == (10, 9)


def test_labels_in_history_that_were_recorded_too_early_are_left_out_and_counted(
    database: Database, tmp_path: Path
) -> None:
    load(database, tmp_path, EARLY + timedelta(hours=1), ANSWERS, hurried=True)
    with pytest.raises(AsOfRefused, match="12 were recorded before they could be known"):
        assemble(database)
    # The same answers again, by when they can be known: now they count.
    done = load(database, tmp_path, MATURED, {one: ANSWERS[one] for one in MACHINES[:8]})
    assert (done.tables["failures"].added, done.tables["failures"].unchanged) == (8, 0)
    found = assemble(database)
    assert labels_of(found) == {one: ANSWERS[one] for one in MACHINES[:8]}
    assert (found.without_label, found.null_labels, found.premature_labels) == (4, 0, 4)
    again = load(database, tmp_path, MATURED + timedelta(days=1), ANSWERS)
    assert (again.tables["failures"].added, again.tables["failures"].unchanged) == (4, 8)
    assert labels_of(assemble(database)) == ANSWERS
