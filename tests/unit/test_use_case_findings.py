"""A use case with one thing wrong: each is told with its place and the line to write instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import tiny_case

import churn
from streamflow.features import use_case_check
from streamflow.findings import UseCaseRefused
from streamflow.pipeline import check as step_check
from streamflow.use_case import Label, Table, UseCase

RIGHT = tiny_case.use_case
TYPES = {"string": "String", "Int64": "Int64", "Float64": "Float64", "boolean": "Bool"}
COLUMNS = {
    "machines": {"kind": "string", "age_weeks": "Int64"},
    "readings": {"temperature_c": "Float64", "alarms": "Int64", "guard_open": "boolean"},
}
FIELDS = [(table, column) for table, columns in COLUMNS.items() for column in columns]


@dataclass(frozen=True)
class Fault:
    """A use case with one thing wrong, what its finding's place is, and what its line contains."""

    use_case: UseCase
    where: str
    instead: str


def with_tables(change: Callable[[dict[str, Table]], Any]) -> UseCase:
    """The use case with other tables: `change` gets them by name, to exchange some."""

    def tables() -> tuple[Table, ...]:
        named = {table.name: table for table in RIGHT.tables()}
        return tuple(change(named) or named.values())

    return replace(RIGHT, tables=tables)


def with_column(table: str, column: str, **changed: Any) -> UseCase:
    def change(tables: dict[str, Table]) -> None:
        contract = tables[table].contract.update_columns({column: changed})
        tables[table] = replace(tables[table], contract=contract)

    return with_tables(change)


def with_contract(table: str, change: Callable[[Any], Any]) -> UseCase:
    def changed(tables: dict[str, Table]) -> None:
        tables[table] = replace(tables[table], contract=change(tables[table].contract))

    return with_tables(changed)


def with_features(change: Callable[[dict[str, Any]], Any]) -> UseCase:
    """The use case with other definitions: `change` gets them by name, and may return others."""

    def features() -> list[Any]:
        named = {one.name: one for one in RIGHT.features()}
        return change(named) or list(named.values())

    return replace(RIGHT, features=features)


def with_view(view: str, **given_: Any) -> UseCase:
    """The use case with one feature view made anew, with other arguments."""

    def features() -> list[Any]:
        from feast import FeatureService

        named = {one.name: one for one in RIGHT.features()}
        old = named[view]
        arguments: dict[str, Any] = {
            "name": view,
            "entities": [named["machine"]],
            "ttl": old.ttl,
            "schema": list(old.features),
            "source": old.batch_source,
        }
        kind = given_.get("kind", type(old))
        arguments |= {name: value for name, value in given_.items() if name != "kind"}
        named[view] = kind(**{name: v() if callable(v) else v for name, v in arguments.items()})
        views = [named["machines_fv"], named["readings_fv"]]
        named["failures_v1"] = FeatureService(name="failures_v1", features=views)
        return list(named.values())

    return replace(RIGHT, features=features)


def raising() -> Any:
    raise RuntimeError("a fault of the team's own\nin two lines")


@st.composite
def wrong_settings(draw: st.DrawFn) -> Fault:
    """In the use case's own fields."""
    word = draw(st.sampled_from(["gone", "Machines ", "x"]))
    field, value, where, instead = draw(
        st.sampled_from(
            [
                ("name", draw(st.sampled_from(["", "Fails", "a-b", "1st", "_x", "ü"])), "name", ""),
                ("name", draw(st.sampled_from(["mlflow", "pg_x", "online"])), "name", "_use_case"),
                ("join_key", ("machine_id", "kind"), "join_key", '"machine_id_kind"'),
                ("join_key", None, "join_key", "join_key="),
                ("entity_table", word, "entity_table", '"machines"'),
                ("label", "fails", "label", "Label(table="),
                ("label", Label(word, "fails"), "label", "Label(table="),
                ("label", Label("failures", word), "label", 'column="fails"'),
                ("label", Label("failures", "machine_id"), "label", 'column="fails"'),
                ("label", Label("failures", "fails", -timedelta(1)), "label", "horizon="),
                ("feature_service", word, "feature_service", '"failures_v1"'),
                ("models", {}, "models", "models={"),
                ("models", {"logistic_regression": 3}, "model 'logistic", "lambda random_state"),
                ("default_model", word, "default_model", '"logistic_regression"'),
                ("acceptance", {"auk": 0.7}, "acceptance", '"auc"'),
                ("acceptance", {"log_loss": 0.7}, "acceptance", "acceptance={"),
                ("acceptance", {"auc": 70}, "acceptance", '"auc": 0.7'),
                ("validation_share", draw(st.sampled_from([0, 1, 25])), "validation_share", "0.25"),
                ("unseen", ["alarms"], "unseen", "unseen={"),
                ("unseen", {"alarms": "warm"}, "unseen", 'unseen={"alarms": "warn"}'),
                ("unseen", {"alarm": "warn"}, "unseen", 'unseen={"alarms": "warn"}'),
                ("unseen", {"alarms": "other"}, "unseen", 'unseen={"alarms": "warn"}'),
                ("tables", (), "tables", "def tables():"),
                ("tables", raising, "tables", "Table("),
                ("features", [], "features", "def features():"),
                ("features", raising, "features", "service"),
            ]
        )
    )
    return Fault(replace(RIGHT, **{field: value}), where, instead)


@st.composite
def wrong_contracts(draw: st.DrawFn) -> Fault:
    """In a table's contract."""
    from pandera.pandas import Column

    table, column = draw(st.sampled_from(FIELDS))
    kind = COLUMNS[table][column]
    other = draw(st.sampled_from([one for one in TYPES if one != kind]))
    theirs, ours = draw(
        st.sampled_from(
            [("int64", "Int64"), ("float32", "Float64"), ("bool", "boolean"), ("object", "string")]
        )
    )
    any_table = draw(st.sampled_from([*COLUMNS, "failures"]))
    reserved = draw(st.sampled_from(["line", "as_of", "recorded_at", "ctid", 'a"b', "a%b", ""]))
    at = f"feature view '{table}_fv', field {column!r}"

    def with_reserved(contract: Any) -> Any:
        return contract.add_columns({reserved: Column("Int64")})

    def without_key(contract: Any) -> Any:
        return contract.remove_columns(["machine_id"])

    def twice(tables: dict[str, Table]) -> list[Table]:
        return [*tables.values(), tables[any_table]]

    def with_rule(tables: dict[str, Table]) -> None:
        tables[any_table] = replace(tables[any_table], absent="nulls")  # type: ignore[arg-type]

    def misnamed(tables: dict[str, Table]) -> list[Table]:
        name = draw_name
        return [*tables.values(), replace(tables["failures"], name=name)]

    draw_name = draw(st.sampled_from(["Fails", "a b", "2nd", "a;b", "x" * 56]))
    faults = [
        Fault(with_column(table, column, dtype=other), at, f"dtype={TYPES[other]}"),
        Fault(with_column(table, column, dtype="date"), at, "a column with"),
        Fault(
            with_column("failures", "fails", dtype=other if other != "boolean" else "Float64"),
            "table 'failures', column 'fails'",
            '"fails": Column("boolean")',
        ),
        Fault(
            with_column(any_table, "machine_id", nullable=True),
            f"table {any_table!r}, column 'machine_id'",
            '"machine_id": Column("string")',
        ),
        Fault(
            with_column(any_table, "machine_id", dtype="Int64"),
            f"table {any_table!r}, column 'machine_id'",
            '"machine_id": Column("string")',
        ),
        Fault(
            with_contract(any_table, lambda contract: contract.add_columns({"x": Column(theirs)})),
            f"table {any_table!r}, column 'x'",
            f'"x": Column("{ours}")',
        ),
        Fault(
            with_column(table, column, required=False),
            f"table {table!r}, column {column!r}",
            "nullable=True",
        ),
        Fault(with_contract(any_table, with_reserved), f"table {any_table!r}, column", "Column("),
        Fault(
            with_contract(any_table, without_key),
            f"table {any_table!r}",
            '"machine_id": Column("string")',
        ),
        Fault(
            with_contract(table, lambda contract: contract.remove_columns([column])), at, "Field("
        ),
        Fault(with_tables(twice), f"table {any_table!r}", f'Table("{any_table}_2"'),
        Fault(with_tables(misnamed), f"table {draw_name!r}", "Table("),
        Fault(with_tables(with_rule), f"table {any_table!r}", 'absent="null"'),
        Fault(
            with_contract("machines", lambda contract: dict(contract.columns)),
            "table 'machines'",
            "DataFrameSchema(",
        ),
        Fault(
            with_tables(lambda t: [replace(one, arrives_later=True) for one in t.values()]),
            "table 'machines'",
            "without arrives_later",
        ),
    ]
    return draw(st.sampled_from(faults))


@st.composite
def wrong_definitions(draw: st.DrawFn) -> Fault:
    """In the Feast definitions."""
    from feast import Entity, FeatureService, Field, ValueType, types
    from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
        PostgreSQLSource,
    )

    from streamflow.features import history_source

    table, column = draw(st.sampled_from(FIELDS))
    view, right = f"{table}_fv", TYPES[COLUMNS[table][column]]
    others = [one for one in ("String", "Int64", "Float64", "Bool", "Float32") if one != right]
    wrong = getattr(types, draw(st.sampled_from(others)))
    at = f"feature view {view!r}"

    def schema(*changed: Any) -> list[Any]:
        kept = [
            Field(name=name, dtype=getattr(types, TYPES[kind]))
            for name, kind in COLUMNS[table].items()
        ]
        return [field for field in kept if changed[0] == "add" or field.name != column] + [
            *changed[1:]
        ]

    def without(name: str) -> UseCase:
        return with_features(lambda named: [one for one in named.values() if one.name != name])

    def on_demand(named: dict[str, Any]) -> list[Any]:
        return [*named.values(), an_on_demand_view(named["readings_fv"])]

    def served_on_demand(named: dict[str, Any]) -> list[Any]:
        computed = an_on_demand_view(named["readings_fv"])
        views = [named["machines_fv"], named["readings_fv"], computed]
        named["failures_v1"] = FeatureService(name="failures_v1", features=views)
        return [*named.values(), computed]

    def empty(named: dict[str, Any]) -> None:
        named["failures_v1"] = FeatureService(name="failures_v1", features=[])

    def entity(**arguments: Any) -> Any:
        given_ = {"join_keys": ["machine_id"], "value_type": ValueType.STRING, **arguments}
        return Entity(name="machine", **given_)

    def other_key(named: dict[str, Any]) -> None:
        named["machine"] = entity(join_keys=["kind"])

    def number(named: dict[str, Any]) -> None:
        named["machine"] = entity(value_type=ValueType.INT64)

    by_hand = PostgreSQLSource(
        name=table, table=f"{table}_history", timestamp_field="event_timestamp"
    )
    label_source = history_source("failures")
    label = Field(name="fails", dtype=types.Bool)
    entity_line = 'join_keys=["machine_id"], value_type=ValueType.STRING'
    faults = [
        Fault(
            with_view(view, schema=schema("swap", Field(name=column, dtype=wrong))),
            f"{at}, field {column!r}",
            f'Field(name="{column}", dtype={right})',
        ),
        Fault(
            with_view(view, schema=schema("add", Field(name=f"{column}_", dtype=types.Int64))),
            f"{at}, field '{column}_'",
            f'Field(name="{column}", dtype={right})',
        ),
        Fault(with_view(view, schema=[]), at, "schema=["),
        Fault(with_view(view, source=history_source("gone")), at, "history_source("),
        Fault(with_view(view, source=by_hand), at, f'history_source("{table}")'),
        Fault(with_view(view, online=False), at, "online=True"),
        Fault(with_view(view, entities=[]), at, "entities=[machine]"),
        Fault(
            with_view(view, source=label_source, schema=[label]),
            f"{at}, field 'fails'",
            "without it",
        ),
        Fault(with_features(other_key), "entity 'machine'", entity_line),
        Fault(with_features(number), "entity 'machine'", entity_line),
        Fault(with_features(on_demand), "on-demand feature view 'hot'", "a column of its table"),
        Fault(with_features(served_on_demand), "on-demand feature view 'hot'", "a column of"),
        Fault(with_features(empty), "feature service 'failures_v1'", "features=["),
        Fault(without("failures_v1"), "feature_service", 'FeatureService(name="failures_v1"'),
        Fault(without(view), "feature service 'failures_v1'", f"return [{view}, …]"),
        Fault(without("machine"), "feature view", "return [machine, …]"),
    ]
    return draw(st.sampled_from(faults))


def an_on_demand_view(source: Any) -> Any:
    from feast import Field, RequestSource
    from feast.on_demand_feature_view import on_demand_feature_view
    from feast.types import Bool, Float64

    asked = RequestSource(name="asked", schema=[Field(name="limit", dtype=Float64)])

    @on_demand_feature_view(
        sources=[source, asked], schema=[Field(name="hot", dtype=Bool)], mode="python"
    )
    def hot(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"hot": [True]}

    return hot


@given(fault=st.one_of(wrong_settings(), wrong_contracts(), wrong_definitions()))
def test_one_thing_wrong_is_refused_with_its_place_and_the_line_to_write(fault: Fault) -> None:
    with pytest.raises(UseCaseRefused) as refused:
        use_case_check.require_usable(fault.use_case)

    places = {finding.where.partition(",")[0] for finding in refused.value.findings}
    told = [one for one in refused.value.findings if one.where.startswith(fault.where)]
    assert any(fault.instead in one.instead for one in told), refused.value.message
    assert all(one.where and one.what and one.instead for one in refused.value.findings)
    assert len(places) <= 2, "one thing wrong is told at its place"
    assert "streamflow check" in refused.value.next


@pytest.mark.parametrize("use_case", [RIGHT, churn.use_case])
def test_nothing_is_wrong_with_a_right_one(use_case: UseCase, tmp_path: Path) -> None:
    assert step_check.check(use_case, tmp_path) == []
