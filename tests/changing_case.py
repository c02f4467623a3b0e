"""A use case whose tables change from one month to the next, as a team's do.

Its tables, columns and features are an argument, so that a test can say what the use case is today.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from streamflow.platform import Platform
from streamflow.use_case import Label, Table, UseCase

KEY, ENTITIES, OUTCOMES, LABEL = "item_id", "items", "outcomes", "good"
FIELD_TYPES = {"Int64": "Int64", "Float64": "Float64", "boolean": "Bool", "string": "String"}


@dataclass(frozen=True)
class Column:
    """A column of a contract; by default a feature is made of it."""

    kind: str
    nullable: bool = True
    required: bool = True
    feature: bool = True
    renamed_from: str | None = None


@dataclass(frozen=True)
class Shape:
    """What the use case is on a day: the columns of its tables without the key, and more."""

    tables: Mapping[str, Mapping[str, Column]]
    absent: str = "null"
    arrives_later: frozenset[str] = frozenset()
    label: str = LABEL
    service: str = "items_v1"
    label_renamed_from: Mapping[str, str] = field(default_factory=dict)

    def with_column(self, table: str, name: str, column: Column) -> Shape:
        """With a column more, or another one of this name, at the end."""
        columns = {one: kept for one, kept in self.tables[table].items() if one != name}
        return replace(self, tables={**self.tables, table: {**columns, name: column}})

    def without_column(self, table: str, name: str) -> Shape:
        """With a column less."""
        columns = {one: kept for one, kept in self.tables[table].items() if one != name}
        return replace(self, tables={**self.tables, table: columns})

    def with_table(self, name: str, columns: Mapping[str, Column]) -> Shape:
        """With a table more."""
        return replace(self, tables={**self.tables, name: columns})

    def without_table(self, name: str) -> Shape:
        """With a table less, and its feature view."""
        return replace(self, tables={one: it for one, it in self.tables.items() if one != name})

    def renamed(self, table: str, old: str, new: str) -> Shape:
        """With another name for a column, in its place."""
        columns = {
            new if one == old else one: replace(kept, renamed_from=old) if one == old else kept
            for one, kept in self.tables[table].items()
        }
        return replace(self, tables={**self.tables, table: columns})


ITEMS = Shape(
    {
        ENTITIES: {"age": Column("Int64"), "kind": Column("string", nullable=False)},
        "readings": {"heat": Column("Float64"), "on": Column("boolean")},
    }
)


def use_case(shape: Shape) -> UseCase:
    """The use case of that shape."""

    def tables() -> tuple[Table, ...]:
        from pandera.pandas import Column as PanderaColumn
        from pandera.pandas import DataFrameSchema

        def table(name: str, columns: Mapping[str, Column]) -> Table:
            contract = DataFrameSchema(
                {
                    KEY: PanderaColumn("string"),
                    **{
                        one: PanderaColumn(
                            made.kind, nullable=made.nullable, required=made.required
                        )
                        for one, made in columns.items()
                    },
                }
            )
            return Table(
                name,
                contract,
                absent=shape.absent,  # type: ignore[arg-type]
                arrives_later=name in shape.arrives_later,
                renamed_from={
                    one: made.renamed_from for one, made in columns.items() if made.renamed_from
                },
            )

        labels = table(OUTCOMES, {shape.label: Column("boolean", nullable=False)})
        return (
            *(table(name, columns) for name, columns in shape.tables.items()),
            replace(labels, renamed_from=shape.label_renamed_from),
        )

    def features() -> list[Any]:
        from feast import Entity, FeatureService, FeatureView, Field, ValueType, types

        from streamflow.features import history_source

        item = Entity(name="item", join_keys=[KEY], value_type=ValueType.STRING)
        views = []
        for name, columns in shape.tables.items():
            fields = [
                Field(name=one, dtype=getattr(types, FIELD_TYPES[made.kind]))
                for one, made in columns.items()
                if made.feature and made.kind in FIELD_TYPES
            ]
            if fields:
                views.append(
                    FeatureView(
                        name=f"{name}_fv",
                        entities=[item],
                        ttl=timedelta(days=45),
                        schema=fields,
                        source=history_source(name),
                    )
                )
        return [item, *views, FeatureService(name=shape.service, features=list(views))]

    return UseCase(
        name="changing",
        registered_model="changing_items",
        join_key=KEY,
        entity_table=ENTITIES,
        tables=tables,
        label=Label(OUTCOMES, shape.label),
        features=features,
        feature_service=shape.service,
        models={"tree": tree},
        default_model="tree",
        acceptance={},
        unseen={
            one: "warn"
            for columns in shape.tables.values()
            for one, made in columns.items()
            if made.feature and made.kind in FIELD_TYPES
        },
    )


def tree(random_state: int) -> Any:
    """Small, so that a test may train often."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(3, max_depth=4, random_state=random_state, n_jobs=1)


def shaped(ready: Platform, shape: Shape) -> Platform:
    """The platform with the use case of that shape."""
    return replace(ready, use_case=use_case(shape))


Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def write_month(folder: Path, rows: Rows) -> Path:
    """Files with these rows, by table; a table's columns are those of its first row."""
    folder.mkdir(parents=True)
    for table, lines in rows.items():
        with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
    return folder


def month(
    shape: Shape, number: int, items: int = 40, **given: Any
) -> dict[str, list[dict[str, Any]]]:
    """Rows of every table of that shape, the same for the same number; `given` are values that a
    column has in all rows, by its name."""
    from random import Random

    def value(name: str, kind: str, item: int) -> Any:
        random = Random(f"{name} {number} {item}")
        if kind == "string":
            return random.choice(["a", "b", "c"])
        if kind == "boolean":
            return random.random() < 0.5
        if kind == "Int64":
            return random.randrange(100)
        return random.random() if kind == "Float64" else f"2023-01-{1 + item % 28:02}"

    found: dict[str, list[dict[str, Any]]] = {}
    columns = {**shape.tables, OUTCOMES: {shape.label: Column("boolean")}}
    for table, made in columns.items():
        found[table] = [
            {
                KEY: f"i{item:03}",
                **{one: given.get(one, value(one, it.kind, item)) for one, it in made.items()},
            }
            for item in range(items)
        ]
    return found
