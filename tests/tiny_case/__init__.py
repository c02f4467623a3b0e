"""Which machines of a workshop will fail next week: a use case of another domain, whole.

It's the proof that `streamflow` knows nothing of churn: the same end-to-end story runs through it.
"""

from __future__ import annotations

import csv
from datetime import timedelta
from math import cos, pi, sin
from random import Random
from typing import Any

from streamflow.use_case import Gates, Generation, Label, Phrase, Retraining, Table, UseCase, Value

KINDS = ("lathe", "mill", "press")


def tables() -> tuple[Table, ...]:
    from pandera.pandas import Check, Column, DataFrameSchema

    def table(name: str, **columns: Any) -> Table:
        return Table(name, DataFrameSchema({"machine_id": Column("string"), **columns}))

    return (
        table("machines", kind=Column("string", Check.isin(KINDS)), age_weeks=Column("Int64")),
        table(
            "readings",
            temperature_c=Column("Float64", Check.in_range(-50, 500)),
            alarms=Column("Int64", Check.ge(0)),
            guard_open=Column("boolean", nullable=True),  # a press has no guard
        ),
        table("failures", fails=Column("boolean")),
    )


def features() -> list[Any]:
    from feast import Entity, FeatureService, FeatureView, Field, ValueType
    from feast.types import Bool, Float64, Int64, String

    from streamflow.features import history_source

    machine = Entity(name="machine", join_keys=["machine_id"], value_type=ValueType.STRING)

    def view(table: str, **types: Any) -> FeatureView:
        fields = [Field(name=name, dtype=dtype) for name, dtype in types.items()]
        source, ttl = history_source(table), timedelta(days=45)
        return FeatureView(
            name=f"{table}_fv", entities=[machine], ttl=ttl, schema=fields, source=source
        )

    machines = view("machines", kind=String, age_weeks=Int64)
    readings = view("readings", temperature_c=Float64, alarms=Int64, guard_open=Bool)
    service = FeatureService(name="failures_v1", features=[machines, readings])
    return [machine, machines, readings, service]


def logistic_regression(random_state: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=5000, random_state=random_state)


def generate(generation: Generation) -> None:
    """`users` machines a month; the hot, old and alarmed ones fail. `drift` heats them up. With
    `rule_drift` 1 the cold ones fail a year later, and those without an alarm a year after that."""
    for month in range(generation.months):
        random = Random(f"{generation.seed} {month}")
        turn = generation.rule_drift * month / 12 * pi / 2
        of_heat, of_alarms = cos(turn) - sin(turn), cos(turn) + sin(turn)
        rows: dict[str, list[list[Any]]] = {"machines": [], "readings": [], "failures": []}
        for number in range(generation.users):
            machine, kind = f"m-{number:04}", KINDS[number % 3]
            age, alarms = 10 + number % 200 + 4 * month, random.choice((0, 0, 0, 1, 2))
            heat = random.gauss(60 + generation.drift * month, 8)
            guard = None if kind == "press" else random.random() < 0.2
            risk = of_heat * (heat - 60) / 8 + age / 100 + of_alarms * alarms + random.gauss(0, 0.8)
            risk += 0.6 * (1 - of_alarms)  # as many fail as before
            rows["machines"].append([machine, kind, age])
            rows["readings"].append([machine, heat, alarms, guard])
            rows["failures"].append([machine, risk > 2.5])
        folder = generation.folder / f"month_{month:03}"
        folder.mkdir(parents=True, exist_ok=True)
        for table in tables():
            path = folder / f"{table.name}.csv"
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([list(table.contract.columns), *rows[table.name]])
            generation.progress(str(path))


use_case = UseCase(
    name="failures",
    registered_model="workshop_failures",
    join_key="machine_id",
    entity_table="machines",
    tables=tables,
    label=Label("failures", "fails"),
    features=features,
    feature_service="failures_v1",
    models={"logistic_regression": logistic_regression},
    default_model="logistic_regression",
    acceptance={"auc": 0.7},
    gates=Gates(recreated="show"),
    value=Value(each=400.0, success=0.6, cost=80.0, unit="EUR"),
    risk_bands={"fails soon": 0.6, "sound": 0.0},
    retraining=Retraining(fewest_new_labels=100),
    phrases={"alarms": "{value} alarms", "kind": Phrase(values={"mill": "milling machine"})},
    generate=generate,
)
