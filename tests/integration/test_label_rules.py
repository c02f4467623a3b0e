"""Labels as they come: yes and no, a category, a number; the rule says which of them mean yes."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pandera.pandas import Check, Column, DataFrameSchema
from tests import tiny_case

from streamflow.errors import ContractViolation
from streamflow.features import definitions, feature_store, point_in_time
from streamflow.history.ingest import ingest
from streamflow.history.months import month_labels
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.settings import Settings, load_settings
from streamflow.use_case import Label, Table, UseCase
from streamflow.use_case.label import LabelValues

FEBRUARY = date(2024, 2, 29)
NOW = datetime(2024, 9, 1, 12, tzinfo=UTC)
STATES = ["churned", "active", "left", "", "on hold, 50%"]
STATE = Column("string", Check.isin([one for one in STATES if one]), nullable=True)


def case(column: Column, positive: LabelValues, negative: LabelValues | None = None) -> UseCase:
    contract = DataFrameSchema({"machine_id": Column("string"), "state": column})
    machines, readings, _ = tiny_case.tables()
    failures = Table("failures", contract)
    return replace(
        tiny_case.use_case,
        tables=lambda: (machines, readings, failures),
        label=Label("failures", "state", positive=positive, negative=negative),
    )


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return load_settings(
        home=settings.home, database_url=settings.database_url, use_case="tests.tiny_case"
    )


@pytest.fixture
def database(ready: Platform) -> Database:
    return ready.database


def load(database: Database, use_case: UseCase, folder: Path, states: list[str]) -> None:
    ids = [f"m-{number}" for number in range(len(states))]
    rows: dict[str, list[list[Any]]] = {
        "machines": [[one, "lathe", number] for number, one in enumerate(ids)],
        "readings": [[one, number, 0, "True"] for number, one in enumerate(ids)],
        "failures": [[one, state] for one, state in zip(ids, states, strict=True)],
    }
    folder.mkdir(exist_ok=True)
    for table in use_case.tables():
        with (folder / f"{table.name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([list(table.contract.columns), *rows[table.name]])
    ingest(database, use_case, folder, FEBRUARY, NOW, NOW, "test", folder / "reports")


def trained_on(database: Database, use_case: UseCase) -> list[bool]:
    definitions.apply(feature_store.open_store(database.url, use_case), use_case)
    found = point_in_time.assemble(database, use_case, [FEBRUARY], NOW)
    assert len(found.training_set.labels) + found.null_labels == 5
    return list(map(bool, found.training_set.labels))


@pytest.mark.parametrize(
    ("column", "positive", "negative", "states", "expected"),
    [
        (STATE, {"churned", "left"}, None, STATES, [True, False, True, None, False]),
        (STATE, "on hold, 50%", None, STATES, [False, False, False, None, True]),
        (
            Column("string", nullable=True),
            *("Yes", ["No", "never"]),
            ["No", "Yes", "", "Yes", "never"],
            [False, True, None, True, False],
        ),
        (
            Column("Int64", nullable=True),
            *(1, (0, 2)),
            ["1", "0", "", "2", "1.0"],
            [True, False, None, False, True],
        ),
        (
            Column("Float64", nullable=True),
            *(">= 30", None),
            ["29.99", "30", "", "-4", "1e3"],
            [False, True, None, False, True],
        ),
        (
            Column("boolean", nullable=True),
            *(False, None),
            ["True", "False", "", "True", "False"],
            [False, True, None, False, True],
        ),
    ],
)
def test_the_rule_says_which_values_mean_yes_and_a_null_is_not_known(
    database: Database,
    tmp_path: Path,
    column: Column,
    positive: LabelValues,
    negative: LabelValues | None,
    states: list[str],
    expected: list[bool | None],
) -> None:
    use_case = case(column, positive, negative)
    load(database, use_case, tmp_path / "month", states)
    assert trained_on(database, use_case) == [one for one in expected if one is not None]
    assert month_labels(database, use_case, NOW) == {FEBRUARY: 4}


def test_another_rule_is_one_for_months_of_before_too(database: Database, tmp_path: Path) -> None:
    late = case(Column("Int64", nullable=True), "> 30")
    load(database, late, tmp_path / "month", ["29", "31", "", "61", "30"])
    assert trained_on(database, late) == [False, True, True, False]
    assert trained_on(database, case(Column("Int64", nullable=True), "> 60")) == [
        *(False, False, True, False)
    ]


def test_a_value_that_the_rule_doesnt_speak_of_is_told_with_its_place(
    database: Database, tmp_path: Path
) -> None:
    use_case = case(Column("string", nullable=True), "Yes", "No")
    with pytest.raises(ContractViolation) as told:
        load(database, use_case, tmp_path / "month", ["No", "Yes", "", "yes_", "No"])
    message = told.value.message
    assert "failures.csv, line 5, column 'state': 'yes_' breaks the rule: " in message
    assert "'Yes' mean yes, 'No' mean no" in message
    assert "Label's positive or negative" in message
