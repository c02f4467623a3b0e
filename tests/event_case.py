"""A use case with features from events: which machines of a workshop fail, by their stops.

Its aggregations are an argument, so that a test can say what they are today.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from streamflow.use_case import (
    Count,
    DaysSince,
    Distinct,
    Events,
    Gates,
    Label,
    Mean,
    Sum,
    Table,
    UseCase,
)

AGGREGATIONS: Mapping[str, Any] = {
    "stops_30d": Count(days=30),
    "minutes_90d": Sum("minutes", days=90),
    "mean_minutes_30d": Mean("minutes", days=30),
    "reasons_60d": Distinct("reason", days=60),
    "days_since_stop": DaysSince(),
}
# An event: machine, moment, minutes, reason.
Event = tuple[str, datetime, float | None, str | None]


def with_aggregations(aggregations: Mapping[str, Any], **table: Any) -> UseCase:
    """The use case with these aggregations; `table` are more fields of the table of events."""

    def tables() -> tuple[Table, ...]:
        from pandera.pandas import Column, DataFrameSchema

        machine = Column("string")
        stops = DataFrameSchema(
            {
                "machine_id": machine,
                "stopped_at": Column("datetime64[us, UTC]"),
                "minutes": Column("Float64", nullable=True),
                "reason": Column("string", nullable=True),
            }
        )
        events = Events(stops, "machine_id", "stopped_at", aggregations)
        return (
            Table(
                "machines", DataFrameSchema({"machine_id": machine, "age_weeks": Column("Int64")})
            ),
            Table("stops", events=events, **table),
            Table("failures", DataFrameSchema({"machine_id": machine, "fails": Column("boolean")})),
        )

    def features() -> list[Any]:
        from feast import Entity, FeatureService, FeatureView, Field, ValueType
        from feast.types import Float64, Int64

        from streamflow.features import history_source

        def view(name: str, types: Mapping[str, Any]) -> FeatureView:
            return FeatureView(
                name=f"{name}_fv",
                entities=[machine],
                ttl=timedelta(days=45),
                schema=[Field(name=one, dtype=kind) for one, kind in types.items()],
                source=history_source(name),
            )

        machine = Entity(name="machine", join_keys=["machine_id"], value_type=ValueType.STRING)
        floats = (Sum, Mean)
        stops = {
            name: Float64 if isinstance(one, floats) else Int64
            for name, one in aggregations.items()
        }
        views = [view("machines", {"age_weeks": Int64}), view("stops", stops)]
        return [machine, *views, FeatureService(name="stopping_v1", features=views)]

    return UseCase(
        name="stopping",
        registered_model="stopping_machines",
        join_key="machine_id",
        entity_table="machines",
        tables=tables,
        label=Label("failures", "fails"),
        features=features,
        feature_service="stopping_v1",
        models={"tree": tree},
        default_model="tree",
        acceptance={},
        gates=Gates(recreated="show"),
        # A few machines have values that training never saw.
        unseen=dict.fromkeys(("age_weeks", *aggregations), "warn"),
    )


def tree(random_state: int) -> Any:
    """Small, so that a test may train often; it takes nulls."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(5, max_depth=4, random_state=random_state, n_jobs=1)


use_case = with_aggregations(AGGREGATIONS)


def stops(as_of: date, machines: int) -> list[Event]:
    """The month's stops: few for most machines, none for some; the same each time."""
    events: list[Event] = []
    for number in range(machines):
        random = Random(f"{as_of} {number}")
        for _ in range(random.choice((0, 0, 1, 2, 6))):
            moment = datetime.combine(as_of, datetime.max.time(), UTC) - timedelta(
                days=random.randrange(28), seconds=random.randrange(86_400)
            )
            minutes = random.choice((None, random.gauss(20, 8)))
            events.append((f"m-{number:03}", moment, minutes, random.choice(("jam", "oil", None))))
    return events


def write(folder: Path, as_of: date, events: Iterable[Event], machines: int = 60) -> Path:
    """A month's files. Machines that stop often fail."""
    folder.mkdir(parents=True)
    events = list(events)
    names = [f"m-{number:03}" for number in range(machines)]
    many = {name: sum(one[0] == name for one in events) for name in names}
    contents: dict[str, list[list[Any]]] = {
        "machines": [["machine_id", "age_weeks"]],
        "stops": [["machine_id", "stopped_at", "minutes", "reason"]],
        "failures": [["machine_id", "fails"]],
    }
    for number, name in enumerate(names):
        contents["machines"].append([name, number % 40 + as_of.month])
        fails = many[name] + Random(f"{as_of} fails {name}").random() > 2.5
        contents["failures"].append([name, str(fails).lower()])
    contents["stops"] += [[name, moment.isoformat(), *rest] for name, moment, *rest in events]
    for table, lines in contents.items():
        with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)
    return folder
