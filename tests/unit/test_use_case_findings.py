"""A use case with one thing wrong: each is told with its place and the line to write instead."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import tiny_case

import churn
from streamflow.cli.main import main
from streamflow.features import use_case_check
from streamflow.pipeline import apply, checked_use_case, ingest, materialize, train
from streamflow.pipeline import check as step_check
from streamflow.platform import Platform
from streamflow.settings import Settings
from streamflow.training.estimator_findings import estimator_findings
from streamflow.use_case import Gates, Label, Table, UseCase, Value
from streamflow.use_case.findings import UseCaseRefused

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
        named[view] = type(old)(**(arguments | given_))
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
                ("label", Label("failures", "fails", positive=[]), "label", "positive={"),
                ("label", Label("failures", "fails", negative=False), "label", "positive=…"),
                ("label", Label("failures", "fails", positive=">= 1"), "label", "positive="),
                ("label", Label("failures", "fails", positive=1), "label", "positive=…"),
                (
                    "label",
                    Label("f", "fails", positive={1, 2}, negative=2),
                    "label",
                    "positive",
                ),
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
                ("departed_after", 45, "departed_after", "timedelta(days=45)"),
                ("departed_after", -timedelta(1), "departed_after", "timedelta(days=45)"),
                ("gates", {"auc_margin": 0.02}, "gates", "gates=Gates()"),
                ("gates", Gates(auc_margin=2), "gates", "Gates(auc_margin=0.02)"),
                ("gates", Gates(score_shift=-1), "gates", "Gates(score_shift=0.25)"),
                ("gates", Gates(latency_ratio=True), "gates", "Gates(latency_ratio=5.0)"),
                ("gates", Gates(recreated="no"), "gates", 'Gates(recreated="require")'),
                ("gates", Gates(approval="yes"), "gates", "Gates(approval=True)"),
                ("gates", Gates(segments="machines.kind"), "gates", '("machines.kind",)'),
                ("gates", Gates(segments=("kind",)), "gates", '("table.kind",)'),
                ("gates", Gates(segments=("machines.kinds",)), "gates", '("machines.kind",)'),
                ("gates", Gates(segments=("machines.machine_id",)), "gates", "machines.kind"),
                ("gates", Gates(segments=("readings.temperature_c",)), "gates", "segments=("),
                ("gates", Gates(segments=("failures.fails",)), "gates", "Gates(segments=("),
                ("gates", Gates(segments=("machines.kind",) * 2), "gates", "each segment once"),
                ("value", 5.0, "value", "value=Value("),
                ("value", Value(), "value", "Value(column="),
                ("value", Value("readings.alarms", each=2.0), "value", "Value(column="),
                ("value", Value("alarms"), "value", '"table.alarms"'),
                ("value", Value("readings.alarm"), "value", '"readings.alarms"'),
                ("value", Value("machines.kind"), "value", "Value(column="),
                ("value", Value(each=-1.0), "value", "Value(each="),
                ("value", Value(each=1.0, months=0), "value", "Value(months=12)"),
                ("value", Value(each=1.0, success=20), "value", "Value(success=0.2)"),
                ("value", Value(each=1.0, cost=-5), "value", "Value(cost=5.0)"),
                ("risk_bands", ["high"], "risk_bands", "risk_bands={"),
                ("phrases", {"alarm": "{value}"}, "phrases", 'phrases={"alarms": "{value} …"}'),
                ("phrases", {"alarms": "{valeu}"}, "phrase of 'alarms'", '"alarms": "{value} …"'),
                ("risk_bands", {"high": 50}, "risk_bands", '"high": 0.5'),
                ("risk_bands", {"a": 0.1, "b": 0.1}, "risk_bands", "risk_bands={"),
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

    wrong_dates, dates_line = draw(
        st.sampled_from(
            [
                ("age_weeks", "a_date"),
                (("age_weeks",), "leave it out"),
                (("gone",), "leave it out"),
            ]
        )
    )

    def with_dates(tables: dict[str, Table]) -> None:
        tables["machines"] = replace(tables["machines"], not_after_as_of=wrong_dates)  # type: ignore[arg-type]

    wrong_names, right_line = draw(
        st.sampled_from(
            [
                ({"kinds": "sort"}, 'renamed_from={"kind": "sort"}'),
                ({"machine_id": "id"}, "leave it out"),
                ({"kind": "age_weeks"}, "without renamed_from"),
                ({"kind": "sort", "age_weeks": "sort"}, "one of them"),
                ({"kind": ""}, "renamed_from={"),
                (("kind", "sort"), 'renamed_from={"new_name": "old_name"}'),
            ]
        )
    )

    def with_names(tables: dict[str, Table]) -> None:
        tables["machines"] = replace(tables["machines"], renamed_from=wrong_names)  # type: ignore[arg-type]

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
            with_column(any_table, "machine_id", required=False),
            f"table {any_table!r}, column 'machine_id'",
            '"machine_id": Column("string")',
        ),
        Fault(
            with_column("failures", "fails", required=False),
            "table 'failures', column 'fails'",
            "arrives_later=True",
        ),
        Fault(
            with_tables(with_names),
            "table 'machines', renamed_from",
            right_line,
        ),
        Fault(with_tables(with_dates), "table 'machines', not_after_as_of", dates_line),
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


NOW = datetime(2024, 3, 1, tzinfo=UTC)
STEPS: dict[str, Callable[[Platform], object]] = {
    "ingest": lambda platform: ingest.ingest(
        platform, Path("no folder"), date(2024, 1, 31), None, NOW, "me"
    ),
    "apply": apply.apply,
    "train": lambda platform: train.train(platform, date(2024, 1, 31), None, 42, NOW),
    "materialize": lambda platform: materialize.materialize(platform, None, NOW),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_refuses_a_wrong_use_case_before_it_touches_any_service(
    step: str, tmp_path: Path
) -> None:
    wrong = with_column("failures", "fails", dtype="Float64")
    nothing: Any = None
    platform = Platform(Settings(home=tmp_path, _env_file=None), wrong, nothing, nothing, nothing)
    with pytest.raises(UseCaseRefused, match="the label has the type Float64"):
        STEPS[step](platform)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", STEPS)
def test_a_step_refuses_wrong_definitions_too(step: str, tmp_path: Path) -> None:
    wrong = with_features(lambda named: [one for one in named.values() if one.name != "machine"])
    nothing: Any = None
    platform = Platform(Settings(home=tmp_path, _env_file=None), wrong, nothing, nothing, nothing)
    with pytest.raises(UseCaseRefused, match="machine"):
        STEPS[step](platform)
    assert list(tmp_path.iterdir()) == []


def test_sources_that_were_found_right_are_checked_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "workshop.py"
    module.write_text("from tests.tiny_case import use_case as use_case\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    nothing: Any = None
    settings = Settings(home=tmp_path / "home", use_case="workshop", _env_file=None)
    platform = Platform(settings, tiny_case.use_case, nothing, nothing, nothing)
    checks: list[UseCase] = []
    monkeypatch.setattr(checked_use_case.use_case_check, "require_usable", checks.append)
    for _ in range(2):
        checked_use_case.require_usable(platform)
    assert len(checks) == 1
    module.write_text(module.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    checked_use_case.require_usable(platform)
    assert len(checks) == 2
    made_at_run_time = replace(platform, use_case=replace(tiny_case.use_case))
    checked_use_case.require_usable(made_at_run_time)
    assert len(checks) == 3


def svc(random_state: int) -> Any:
    from sklearn.svm import LinearSVC

    return LinearSVC(random_state=random_state)


def boosting(random_state: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(random_state=random_state)


def test_estimators_that_cant_work_are_told_by_name() -> None:
    from sklearn.linear_model import LinearRegression, LogisticRegression

    same = LogisticRegression()
    found = estimator_findings(
        {
            "right": tiny_case.logistic_regression,
            "no_probability": svc,
            "a_regressor": lambda random_state: LinearRegression(),
            "an_object": lambda random_state: object(),
            "no_argument": lambda: LogisticRegression(),
            "always_the_same": lambda random_state: same,
        }
    )
    said = {one.where: f"{one.what}; {one.instead}" for one in found}
    assert "model 'right'" not in said
    assert "LinearSVC has no predict_proba" in said["model 'no_probability'"]
    assert "CalibratedClassifierCV(LinearSVC(…))" in said["model 'no_probability'"]
    assert "LinearRegression has no predict_proba" in said["model 'a_regressor'"]
    assert "has no get_params, no fit, no predict" in said["model 'an_object'"]
    assert "TypeError" in said["model 'no_argument'"]
    assert "the same LogisticRegression" in said["model 'always_the_same'"]


def test_check_tells_everything_at_once_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong_in_many_ways.py").write_text(
        "from dataclasses import replace\n"
        "from tests.unit.test_use_case_findings import boosting, with_column\n"
        "use_case = replace(\n"
        "    with_column('failures', 'fails', dtype='string'),\n"
        "    default_model='x', models={'boosting': boosting}, acceptance={'aoc': 1},\n"
        ")\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMFLOW_USE_CASE", "wrong_in_many_ways")
    monkeypatch.setenv("STREAMFLOW_HOME", str(tmp_path / "a home"))

    def run(*arguments: str) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["streamflow", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, capsys.readouterr().out

    code, printed = run("check", "--json")
    told = json.loads(printed)
    assert (code, told["use_case"]) == (1, "wrong_in_many_ways")
    places = [finding["where"] for finding in told["findings"]]
    assert places == [
        "default_model",
        "acceptance",
        "table 'failures', column 'fails'",
        "model 'boosting'",
    ]
    assert "HistGradientBoostingClassifier" in told["findings"][3]["what"]
    assert len(printed) < 3000

    code, printed = run("check")
    assert code == 1
    assert 'write: default_model="boosting"' in printed
    assert "4 findings" in printed

    code, printed = run("models", "--json")
    refusal = json.loads(printed)
    assert (code, refusal["error"]) == (1, "use_case_refused")
    assert "streamflow check" in refusal["next"]
