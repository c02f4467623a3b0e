"""A run made again: identical, or the factor that moved named first, with row and column."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from platform import machine
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from tests.conftest import OwnDatabase
from tests.json_schema import violations
from tests.statements import execute

from churn.generator import generate
from streamflow.bootstrap import platform
from streamflow.cli import main as command_line
from streamflow.errors import NoLineage
from streamflow.features import definitions, feature_store
from streamflow.hashes import sha256_of
from streamflow.lineage import code as code_fingerprint
from streamflow.lineage import compare_tables, diff, reproduce
from streamflow.lineage import document as lineage
from streamflow.lineage.code import OWN_PACKAGES
from streamflow.lineage.document import Lineage
from streamflow.lineage.reproduce import Reproduction
from streamflow.pipeline import train as training_run
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.platform import Platform
from streamflow.settings import load_settings
from streamflow.training import fit
from streamflow.use_case import Generation, UseCase

pytestmark = pytest.mark.usefixtures("without_plots")

DOCS = Path(__file__).parents[2] / "docs"
USERS = 300
JANUARY = date(2024, 1, 31)
JANUARY_KNOWN = datetime(2024, 2, 3, 6, tzinfo=UTC)
TRAINED = datetime(2024, 2, 5, 9, tzinfo=UTC)
CORRECTED = datetime(2024, 3, 20, 6, tzinfo=UTC)
NOW = datetime(2024, 4, 15, 12, tzinfo=UTC)
SUPPORT, HOURS = "support_agg_90d", "ticket_avg_resolution_hrs_90d"


@dataclass(frozen=True)
class Trained:
    """A database to copy, in which two runs were made, and the home that has their artifacts.

    `run` is of a linear model, which any value changes; `forest` is of one that chance makes.
    """

    url: str
    home: Path
    months: Path
    run: training_run.Trained
    forest: training_run.Trained


@pytest.fixture(scope="module")
def trained(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Trained:
    home = tmp_path_factory.mktemp("reproduced")
    months, url = home / "months", new_database(prepared_database)
    generate(Generation(months, users=USERS, months=1, seed=7))
    with opened(url, home) as ready:
        load(ready, months / "month_000", JANUARY_KNOWN)
        apply(ready)
        run = training_run.train(ready, JANUARY, "logistic_regression", 42, TRAINED)
        forest = training_run.train(ready, JANUARY, "random_forest", 42, TRAINED)
    return Trained(url, home, months, run, forest)


@contextmanager
def opened(url: str, home: Path, **settings: Any) -> Iterator[Platform]:
    with platform(
        load_settings(home=home, database_url=url, use_case="churn", **settings)
    ) as ready:
        yield ready


@pytest.fixture
def ready(trained: Trained, own_database: OwnDatabase) -> Iterator[Platform]:
    """The platform over a copy of the database, free to be tampered with."""
    with own_database(trained.url) as url, opened(url, trained.home) as copied:
        yield copied


def load(ready: Platform, month: Path, recorded_at: datetime) -> None:
    ingest(ready, month, JANUARY, recorded_at, NOW, "test")


def reproduced(ready: Platform, run: training_run.Trained) -> Reproduction:
    return reproduce.reproduce(ready, ready.registry.run(run.run_id), NOW)


def moved(done: Reproduction) -> list[str]:
    return [factor.name for factor in done.factors[:-1] if not factor.same]


def said(done: Reproduction, name: str) -> list[str]:
    return next(factor.said for factor in done.factors if factor.name == name)


def change(ready: Platform, statement: str, *values: Any) -> list[dict[str, Any]]:
    with ready.database.transaction():
        cursor = execute(ready.database, statement, values)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def some_user(ready: Platform, where: str = "true") -> dict[str, Any]:
    return change(
        ready,
        "SELECT * FROM churn.support_agg_90d_history JOIN churn.labels_history USING (user_id) "
        f"WHERE {where} ORDER BY user_id LIMIT 1 OFFSET 3",
    )[0]


def test_a_run_comes_out_identical_and_its_tags_say_so(ready: Platform, trained: Trained) -> None:
    done = reproduced(ready, trained.run)

    assert (done.verdict, moved(done)) == ("identical", [])
    assert done.why == "the same model to the last bit, from the same data"
    assert [factor.name for factor in done.factors] == [
        *("data", "code", "environment", "configuration", "randomness", "model")
    ]
    expected = {
        "streamflow.reproduced": "identical",
        "streamflow.reproduced_at": NOW.isoformat(),
        "streamflow.reproduced_why": done.why,
    }
    assert expected.items() <= ready.registry.run(trained.run.run_id).tags.items()
    client = ready.registry._client
    version = client.get_model_version(ready.registry.model, str(trained.run.version))
    assert expected.items() <= version.tags.items()


def test_reproducing_makes_no_run_and_no_version_and_leaves_no_folder(
    ready: Platform, trained: Trained
) -> None:
    before = [run.run_id for run in ready.registry.runs()], ready.registry.versions()
    reproduced(ready, trained.run)
    assert ([run.run_id for run in ready.registry.runs()], ready.registry.versions()) == before
    assert list((trained.home / "scratch").iterdir()) == []


def test_a_runs_lineage_is_as_its_published_schema_says(trained: Trained) -> None:
    schema = json.loads((DOCS / "lineage.schema.json").read_text(encoding="utf-8"))
    assert schema == lineage.schema(), "publish it: json.dumps(lineage.schema(), indent=2)"
    (file,) = trained.home.glob(f"mlflow/{trained.run.run_id}/artifacts/lineage.json")
    document = json.loads(file.read_text(encoding="utf-8"))
    assert violations(document, schema) == []
    assert Lineage.from_json(file.read_text()).to_json() == file.read_text()

    document["data"]["rows"] = "many"
    document["code"]["packages"]["churn"]["hash"] = "short"
    del document["model"]
    assert len(violations(document, schema)) == 3
    with pytest.raises(NoLineage, match=r"lineage\.json can't be read"):
        Lineage.from_json(json.dumps(document))


def test_lineage_tells_every_factor_and_so_do_the_tags(ready: Platform, trained: Trained) -> None:
    run = ready.registry.run(trained.run.run_id)
    (file,) = trained.home.glob(f"mlflow/{trained.run.run_id}/artifacts/lineage.json")
    found = Lineage.from_json(file.read_text())

    assert (found.data.hash, found.data.rows) == (trained.run.data_hash, USERS)
    assert len(found.data.columns) == 16
    (ingestion,) = found.data.ingestions
    assert (ingestion.as_of, ingestion.recorded_at) == (JANUARY, JANUARY_KNOWN)
    hashes = {one.table: one.hash for one in ingestion.files}
    for table in ready.use_case.tables():
        assert hashes[table.name] == sha256_of(trained.months / "month_000" / f"{table.name}.csv")
    assert found.code.packages.keys() == {*OWN_PACKAGES, "churn"}
    assert "postgres/sql/queries.sql" in found.code.packages["streamflow"].files
    assert found.environment.versions["feast"]
    assert {one.package for one in found.environment.blas} >= {"numpy"}
    assert found.configuration.parameters["classify__max_iter"] == 1000
    assert found.configuration.feature_views["support_agg_90d_fv"].source == SUPPORT
    assert found.randomness.parameters["classify__random_state"] == 42
    assert found.randomness.threads.keys() == {"blas", "openmp"}
    assert found.model.hash == trained.run.model_hash
    assert run.tags["streamflow.data_hash"] == found.data.hash
    assert run.tags["streamflow.scores_hash"] == found.model.scores_hash
    for factor in ("code", "environment", "configuration", "randomness", "lineage"):
        assert len(run.tags[f"streamflow.{factor}_hash"]) == 64


# Data.


def test_a_value_changed_in_history_is_named_with_row_and_column(
    ready: Platform, trained: Trained
) -> None:
    user = some_user(ready)
    change(
        ready,
        f"UPDATE churn.support_agg_90d_history SET {HOURS} = 12.25 WHERE user_id = %s",
        user["user_id"],
    )
    done = reproduced(ready, trained.run)

    assert (done.verdict, moved(done)) == ("different", ["data"])
    words = f"1 row of {SUPPORT}: {HOURS}; first: user {user['user_id']} {user[HOURS]} → 12.25"
    assert said(done, "data") == [words]
    assert done.why.startswith(f"data moved: {words}")
    (only,) = done.changes
    assert (only.entity, only.column, only.before, only.after) == (
        *(user["user_id"], HOURS, user[HOURS], 12.25),
    )


def test_a_flipped_label_is_named(ready: Platform, trained: Trained) -> None:
    user = some_user(ready, "NOT churn_label")
    change(
        ready,
        "UPDATE churn.labels_history SET churn_label = true WHERE user_id = %s",
        user["user_id"],
    )
    done = reproduced(ready, trained.run)

    assert (done.verdict, moved(done)) == ("different", ["data"])
    assert said(done, "data") == [
        f"1 row of labels: label; first: user {user['user_id']} False → True"
    ]


@pytest.mark.parametrize(
    ("table", "reason"), [("payments_agg_90d", "features"), ("labels", "label")]
)
def test_a_row_deleted_from_history_is_named(
    table: str, reason: str, ready: Platform, trained: Trained
) -> None:
    user = some_user(ready)["user_id"]
    change(ready, f"DELETE FROM churn.{table}_history WHERE user_id = %s", user)
    done = reproduced(ready, trained.run)

    assert (done.verdict, moved(done)) == ("different", ["data"])
    assert said(done, "data") == [
        f"1 row gone; first: user {user}",
        f"left out without {reason}: 0 → 1",
        *([f"left out without a row in {table}: 0 → 1"] if table != "labels" else []),
    ]


def test_rows_that_were_recorded_later_are_no_fault(
    ready: Platform, trained: Trained, tmp_path: Path
) -> None:
    load(ready, corrected(trained, tmp_path), CORRECTED)
    assert reproduced(ready, trained.run).verdict == "identical"


def test_rows_that_were_loaded_later_and_dated_back_are_named_with_their_ingestion(
    ready: Platform, trained: Trained, tmp_path: Path
) -> None:
    load(ready, corrected(trained, tmp_path), TRAINED - timedelta(hours=1))
    done = reproduced(ready, trained.run)
    assert (done.verdict, moved(done)) == ("different", ["data"])
    assert said(done, "data")[-1] == (
        "ingestion 2 (as of 2024-01-31, recorded 2024-02-05T08:00:00+00:00, "
        f"loaded {NOW.isoformat()}) came"
    )


@pytest.mark.history_in_postgres("the order of rows in tables of PostgreSQL")
def test_the_order_of_rows_in_the_tables_is_no_fault(ready: Platform, trained: Trained) -> None:
    for table in ready.use_case.tables():
        name = f"churn.{table.history}"
        columns = ", ".join(
            ["user_id", "as_of", "recorded_at", "ingestion_id"]
            + [column for column in table.contract.columns if column != "user_id"]
        )
        change(ready, f"CREATE TEMPORARY TABLE shuffled AS SELECT {columns} FROM {name}")
        change(ready, f"TRUNCATE {name}")
        change(
            ready,
            f"INSERT INTO {name} ({columns}) SELECT {columns} FROM shuffled ORDER BY md5(user_id)",
        )
        change(ready, "DROP TABLE shuffled")
    assert reproduced(ready, trained.run).verdict == "identical"


# Code and environment.


Edit = Callable[[str, str], None]


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edit:
    """Replaces a text in churn's model.py, in a copy that stands for a use case outside git."""
    source = Path(code_fingerprint.__file__).parents[2] / "churn"
    copy = shutil.copytree(source, tmp_path / "churn")
    looked_at = code_fingerprint.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        if name != "churn":
            return looked_at(name, package)
        return SimpleNamespace(
            origin=str(copy / "__init__.py"), submodule_search_locations=[str(copy)]
        )

    monkeypatch.setattr(code_fingerprint.util, "find_spec", find_spec)

    def replace(old: str, new: str) -> None:
        text = (source / "model.py").read_text()
        assert old in text
        (copy / "model.py").write_text(text.replace(old, new))

    return replace


def test_a_changed_source_is_named(ready: Platform, trained: Trained, edit: Edit) -> None:
    edit("ACCEPTANCE", "ACCEPTED")
    done = reproduced(ready, trained.run)

    assert (done.verdict, moved(done)) == ("identical", ["code"])
    assert said(done, "code")[0].endswith("1 file: churn/model.py")
    assert "although code moved: " in done.why


@pytest.mark.slow
def test_the_source_of_a_use_case_outside_git_is_kept_and_its_changes_are_shown(
    ready: Platform, edit: Edit
) -> None:
    run = training_run.train(ready, JANUARY, "logistic_regression", 3, TRAINED)
    kept = artifacts(ready, run.run_id) / "use_case" / "churn"
    assert {"__init__.py", "model.py", "tables.py"} <= {file.name for file in kept.iterdir()}
    edit("ACCEPTANCE", "ACCEPTED")
    done = reproduced(ready, run)
    assert moved(done) == ["code"]
    assert "--- churn/model.py (recorded)" in done.source_changes
    assert any(line.startswith("+ACCEPTED") for line in done.source_changes)

    edit('"auc": 0.70', '"auc": 0.90')
    done = reproduced(ready, run)
    assert (done.verdict, moved(done)) == ("identical", [])
    assert said(done, "code") == [
        "the same sources, but for the acceptance bar or comments in churn/model.py"
    ]
    assert done.source_changes


def test_a_library_of_another_version_is_named(
    ready: Platform, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sklearn

    metadata = tmp_path / "scikit_learn-1.5.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: scikit-learn\nVersion: 1.5.0\n\nText\n")
    monkeypatch.syspath_prepend(tmp_path)
    done = reproduced(ready, trained.run)

    assert (done.verdict, moved(done)) == ("identical", ["environment"])
    assert said(done, "environment") == [f"scikit-learn {sklearn.__version__} → 1.5.0"]


# Configuration and randomness.


def with_definitions(use_case: UseCase, change: Callable[[dict[str, Any]], None]) -> UseCase:
    def definitions() -> list[Any]:
        objects = use_case.features()
        change({object.name: object for object in objects})
        return objects

    return replace(use_case, features=definitions, phrases={})


def applied(ready: Platform, use_case: UseCase) -> Platform:
    definitions.apply(feature_store.open_store(ready.database.url, use_case), use_case)
    return replace(ready, use_case=use_case)


def test_a_feature_view_with_another_ttl_is_named(ready: Platform, trained: Trained) -> None:
    def shorter(objects: dict[str, Any]) -> None:
        objects["support_agg_90d_fv"].ttl = timedelta(days=40)

    done = reproduced(applied(ready, with_definitions(ready.use_case, shorter)), trained.run)
    assert (done.verdict, moved(done)) == ("different", ["configuration"])
    assert f"feature_views.support_agg_90d_fv.ttl_seconds {45 * 86400.0} → {40 * 86400.0}" in said(
        done, "configuration"
    )


def test_a_feature_that_is_gone_is_configuration_and_not_data(
    ready: Platform, trained: Trained
) -> None:
    def without(objects: dict[str, Any]) -> None:
        projection = objects["churn_v1"].feature_view_projections[0]
        projection.features = [f for f in projection.features if f.name != "monthly_fee"]

    done = reproduced(applied(ready, with_definitions(ready.use_case, without)), trained.run)
    assert (done.verdict, moved(done)) == ("different", ["configuration"])
    assert "feature_schema.features.monthly_fee is gone" in said(done, "configuration")


def with_parameters(use_case: UseCase, model: str, **parameters: Any) -> UseCase:
    build = use_case.models[model]
    models = {model: lambda random_state: build(random_state).set_params(**parameters)}
    return replace(use_case, models={**use_case.models, **models})


@pytest.mark.parametrize(
    ("factor", "words", "changed"),
    [
        (
            "configuration",
            "parameters.n_estimators 200 → 150",
            lambda use_case: with_parameters(use_case, "random_forest", n_estimators=150),
        ),
        (
            "configuration",
            "validation_share 0.25 → 0.3",
            lambda use_case: replace(use_case, validation_share=0.3),
        ),
        (
            "randomness",
            "parameters.random_state 42 → 43",
            lambda use_case: with_parameters(use_case, "random_forest", random_state=43),
        ),
    ],
)
def test_what_the_use_case_builds_otherwise_today_is_named(
    factor: str,
    words: str,
    changed: Callable[[UseCase], UseCase],
    ready: Platform,
    trained: Trained,
) -> None:
    done = reproduced(replace(ready, use_case=changed(ready.use_case)), trained.forest)
    assert (done.verdict, moved(done)) == ("different", [factor])
    assert said(done, factor) == [words]
    assert done.why == f"{factor} moved: {words}"


def test_other_threads_are_named_and_leave_the_model_as_it_was(
    ready: Platform, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    use_case = with_parameters(ready.use_case, "random_forest", n_jobs=2)
    done = reproduced(replace(ready, use_case=use_case), trained.forest)
    assert moved(done) == ["randomness"]
    assert said(done, "randomness") == [
        "parameters.n_jobs 1 → 2",
        "variables.OMP_NUM_THREADS (none) → 2",
    ]
    # A forest adds up its trees' votes in the order in which threads come back: the last bit of a
    # score may differ, the trees don't.
    assert not [line for line in said(done, "model") if line.startswith("model ")]


# Several at once.


def test_of_several_factors_the_one_that_changes_the_model_is_found(
    ready: Platform, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    use_case = with_parameters(ready.use_case, "logistic_regression", classify__C=3.0)
    done = reproduced(replace(ready, use_case=use_case), trained.run)

    assert moved(done) == ["configuration", "randomness"]
    assert [(one.factor, one.outcome) for one in done.restored] == [
        ("configuration", "recorded"),
        ("randomness", "unchanged"),
    ]
    assert done.why == (
        "configuration makes the difference: parameters.classify__C 1.0 → 3.0; "
        "randomness moved too, without an effect of its own"
    )


def test_two_factors_that_change_the_model_are_restored_together(
    ready: Platform, trained: Trained
) -> None:
    change(ready, "UPDATE churn.labels_history SET churn_label = NOT churn_label")
    use_case = with_parameters(ready.use_case, "logistic_regression", classify__C=3.0)
    done = reproduced(replace(ready, use_case=use_case), trained.run)

    assert [(one.factor, one.outcome) for one in done.restored] == [
        ("data", "another"),
        ("configuration", "another"),
        ("data and configuration", "recorded"),
    ]
    assert done.why.startswith("data and configuration make the difference: 300 rows of labels")


def test_a_changed_value_and_a_feature_that_is_gone_are_told_apart(
    ready: Platform, trained: Trained
) -> None:
    def without(objects: dict[str, Any]) -> None:
        projection = objects["churn_v1"].feature_view_projections[0]
        projection.features = [f for f in projection.features if f.name != "monthly_fee"]

    change(ready, f"UPDATE churn.support_agg_90d_history SET {HOURS} = {HOURS} + 1")
    done = reproduced(applied(ready, with_definitions(ready.use_case, without)), trained.run)
    assert moved(done) == ["data", "configuration"]
    assert said(done, "data")[0].startswith(f"300 rows of {SUPPORT}: {HOURS}; first: user ")
    assert [(one.factor, one.outcome) for one in done.restored] == [
        ("data", "another"),
        ("configuration", "another"),
        ("data and configuration", "recorded"),
    ]


def test_what_cant_be_restored_here_says_where_it_can(
    ready: Platform, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "lightgbm-1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Name: lightgbm\nVersion: 1.0\n\n")
    monkeypatch.syspath_prepend(tmp_path)
    use_case = with_parameters(ready.use_case, "random_forest", random_state=43)
    done = reproduced(replace(ready, use_case=use_case), trained.forest)

    assert [(one.factor, one.outcome) for one in done.restored] == [
        ("environment", "impossible"),
        ("randomness", "recorded"),
    ]
    assert "--in-recorded-environment" in done.restored[0].said


def test_a_training_that_doesnt_repeat_itself_is_told(ready: Platform, trained: Trained) -> None:
    build, seeds = ready.use_case.models["random_forest"], itertools.count(1)

    def restless(random_state: int) -> Any:
        estimator = build(random_state)
        whole = type(estimator).fit
        estimator.fit = lambda *data: whole(estimator.set_params(random_state=next(seeds)), *data)
        return estimator

    use_case = replace(ready.use_case, models={"random_forest": restless})
    done = reproduced(replace(ready, use_case=use_case), trained.forest)
    assert (done.verdict, moved(done)) == ("different", [])
    assert done.why == (
        "no factor moved, and the model is another: made twice today, it isn't the same either"
    )


# What can't be told, and what isn't what it says.


def artifacts(ready: Platform, run_id: str) -> Path:
    """Where the run's files are."""
    uri = ready.registry._client.get_run(run_id).info.artifact_uri
    return Path(uri.removeprefix("file://"))


@pytest.fixture
def another(ready: Platform) -> training_run.Trained:
    """A run of its own, whose artifacts may be tampered with."""
    return training_run.train(ready, JANUARY, "logistic_regression", 1, TRAINED)


def test_without_lineage_nobody_can_tell(ready: Platform, another: training_run.Trained) -> None:
    file = artifacts(ready, another.run_id) / "lineage.json"
    document = file.read_text()
    file.write_text(document.replace('"rows": 300', '"rows": 301'))
    done = reproduced(ready, another)
    assert done.verdict == "can't tell"
    assert "isn't the one that was kept" in done.why

    file.unlink()
    done = reproduced(ready, another)
    assert (done.verdict, done.factors) == ("can't tell", [])
    assert f"Run {another.run_id} has no lineage.json" in done.why
    assert ready.registry.run(another.run_id).tags["streamflow.reproduced"] == "can't tell"


def test_without_the_month_or_the_model_nobody_can_tell(ready: Platform, trained: Trained) -> None:
    without = replace(ready, use_case=replace(ready.use_case, models={}))
    assert "has no model 'logistic_regression'" in reproduced(without, trained.run).why
    change(ready, "DELETE FROM streamflow.ingestions")
    done = reproduced(ready, trained.run)
    assert done.verdict == "can't tell"
    assert "no data at AS_OF 2024-01-31" in done.why


def test_a_registered_model_that_was_exchanged_is_told(
    ready: Platform, another: training_run.Trained, trained: Trained
) -> None:
    (described,) = [
        file
        for file in trained.home.glob("mlflow/models/*/artifacts/MLmodel")
        if f"run_id: {another.run_id}" in file.read_text()
    ]
    (served,) = described.parent.rglob("model.onnx")
    served.write_bytes(served.read_bytes() + b"\0")
    done = reproduced(ready, another)
    assert (done.verdict, moved(done)) == ("different", [])
    assert "aren't the ones that were registered" in done.why


def test_without_the_training_set_the_column_is_named_and_the_row_isnt(
    ready: Platform, trained: Trained
) -> None:
    forgetful = replace(
        ready, settings=ready.settings.model_copy(update={"keep_training_sets": False})
    )
    run = training_run.train(forgetful, JANUARY, "logistic_regression", 1, TRAINED)
    assert not (artifacts(ready, run.run_id) / "training_set.parquet").exists()
    assert reproduced(ready, run).verdict == "identical"
    change(
        ready,
        f"UPDATE churn.support_agg_90d_history SET {HOURS} = 12.25 WHERE user_id = %s",
        some_user(ready)["user_id"],
    )
    done = reproduced(ready, run)
    assert (done.verdict, moved(done)) == ("different", ["data"])
    assert said(done, "data") == [
        f"{SUPPORT}: {HOURS}; which rows can't be told, because a training set wasn't kept"
    ]


def test_a_kept_training_set_that_was_damaged_counts_as_none(
    ready: Platform, another: training_run.Trained
) -> None:
    (artifacts(ready, another.run_id) / "training_set.parquet").write_bytes(b"PAR1")
    assert reproduced(ready, another).verdict == "identical"


# Late and corrected data.


def corrected(trained: Trained, tmp_path: Path, users: int = 3) -> Path:
    """January's files with other resolution hours for the first users."""
    folder = shutil.copytree(trained.months / "month_000", tmp_path / "corrected")
    file = folder / f"{SUPPORT}.csv"
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    for row in rows[:users]:
        row[HOURS] = str(float(row[HOURS]) + 1.5)
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.mark.slow
def test_a_correction_changes_what_is_known_now_and_not_what_was_known_then(
    ready: Platform, trained: Trained, tmp_path: Path
) -> None:
    folder = corrected(trained, tmp_path)
    load(ready, folder, CORRECTED)
    model = "logistic_regression"
    then = training_run.train(ready, JANUARY, model, 42, NOW, known_at=TRAINED)
    now = training_run.train(ready, JANUARY, model, 42, NOW)

    assert (then.data_hash, then.model_hash) == (trained.run.data_hash, trained.run.model_hash)
    assert (then.known_at, now.known_at) == (TRAINED, NOW)
    assert now.data_hash != then.data_hash
    for run in (then, now):
        assert reproduced(ready, run).verdict == "identical"

    same = diff.diff(ready, trained.run.run_id, then.run_id)
    assert [factor.same for factor in same.factors] == [True] * 6
    assert (same.changes, same.flipped) == ([], 0)
    found = diff.diff(ready, str(then.version), str(now.version))
    with (folder / f"{SUPPORT}.csv").open(newline="") as lines:
        values = {row["user_id"]: float(row[HOURS]) for row in csv.DictReader(lines)}
    with (trained.months / "month_000" / f"{SUPPORT}.csv").open(newline="") as lines:
        before = {row["user_id"]: float(row[HOURS]) for row in csv.DictReader(lines)}
    assert {(one.entity, one.column, one.before, one.after) for one in found.changes} == {
        (user, HOURS, before[user], values[user]) for user in list(before)[:3]
    }
    assert (found.gone, found.came) == ([], [])
    assert next(factor.name for factor in found.factors if not factor.same) == "data"
    assert found.metrics["auc"] == (then.metrics["auc"], now.metrics["auc"])
    assert found.judged == 75


# The command line.

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(
    ready: Platform,
    trained: Trained,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Runs `streamflow …` here; its exit code, and what it wrote, with --json for scripts alone."""
    monkeypatch.setenv("STREAMFLOW_HOME", str(trained.home))
    monkeypatch.setenv("STREAMFLOW_DATABASE_URL", ready.database.url)
    monkeypatch.setenv("STREAMFLOW_USE_CASE", "churn")
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["streamflow", *arguments])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        written = capsys.readouterr()
        told = written.out if "--json" in arguments else written.out + written.err
        return int(ended.value.code or 0), told

    return run


def test_the_verdict_is_the_exit_code_and_the_last_line(
    command: Command, ready: Platform, trained: Trained
) -> None:
    code, output = command("reproduce", trained.run.run_id)
    assert code == 0
    assert output.count("✓") == 6
    assert output.endswith("\nidentical: the same model to the last bit, from the same data.\n")

    user = some_user(ready)["user_id"]
    change(ready, f"UPDATE churn.support_agg_90d_history SET {HOURS} = 1 WHERE user_id = %s", user)
    code, output = command("reproduce", "--version", str(trained.run.version))
    assert code == 1
    assert output.count("✗") == len([line for line in output.splitlines() if "✗" in line]) >= 1
    assert f"data moved: 1 row of {SUPPORT}: {HOURS}; first: user {user}" in output

    change(ready, "DELETE FROM streamflow.ingestions")
    code, output = command("reproduce", "--all", "--json")
    assert code == 2
    for answer in json.loads(output):
        assert (answer["verdict"], answer["factors"]) == ("can't tell", [])


def test_one_runs_failure_costs_no_other_its_verdict(
    command: Command, ready: Platform, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the failure is: a value that a changed type can't hold, or a run that is gone."""
    third = training_run.train(ready, JANUARY, "logistic_regression", 5, TRAINED)
    ready.registry._client.delete_run(trained.forest.run_id)
    compared = compare_tables.table_difference
    whole = []

    def failing(*tables: Any) -> Any:
        if not whole:
            whole.append(tables)
            raise pa.ArrowInvalid("Integer value 999999999999999999 not in range")
        return compared(*tables)

    monkeypatch.setattr(compare_tables, "table_difference", failing)
    code, output = command("reproduce", "--all", "--json")
    assert code == 2
    newest, gone, oldest = json.loads(output)
    assert (newest["version"], newest["verdict"]) == (third.version, "can't tell")
    assert "ArrowInvalid: Integer value 999999999999999999" in newest["why"]
    assert (gone["version"], gone["verdict"]) == (trained.forest.version, "can't tell")
    assert "has no run" in gone["why"]
    assert (oldest["version"], oldest["verdict"]) == (trained.run.version, "identical")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("reproduce",), "usage"),
        (("reproduce", "1", "--all"), "usage"),
        (("reproduce", "99"), "unknown_version"),
        (("reproduce", "no-such-run"), "unknown_run"),
    ],
)
def test_a_run_that_isnt_there_or_isnt_named_is_no_verdict(
    arguments: tuple[str, ...], error: str, command: Command
) -> None:
    code, output = command(*arguments, "--json")
    assert (code, json.loads(output)["error"]) == (2, error)


def test_two_runs_are_compared_side_by_side(command: Command, trained: Trained) -> None:
    code, output = command("diff", "1", trained.forest.run_id)
    assert code == 0
    for part in (
        "model logistic_regression → random_forest",
        "parameters.random_state (none) → 42",
        " of 75 validation predictions change side",
        "train_time_sec",
    ):
        assert part in output
    code, output = command("diff", "1", "1", "--json")
    assert (code, json.loads(output)["flipped"]) == (0, 0)
    assert command("diff", "1", "nothing", "--json")[0] == 1


@pytest.mark.slow
def test_known_at_is_a_time_that_has_passed_in_utc_if_it_names_no_zone(
    command: Command, ready: Platform, trained: Trained
) -> None:
    def train(known_at: str) -> tuple[int, dict[str, Any]]:
        code, output = command(
            *("train", "--as-of", "2024-01-31", "--known-at", known_at, "--json"),
            *("--model", "logistic_regression"),
        )
        return code, json.loads(output)

    code, answer = train("2024-02-05T09:00:00")
    assert (code, answer["known_at"]) == (0, "2024-02-05T09:00:00+00:00")
    assert answer["data_hash"] == trained.run.data_hash
    assert train("2024-02-05T10:00:00+01:00")[1]["known_at"] == "2024-02-05T09:00:00+00:00"
    for known_at, error in {
        "2999-01-01T00:00:00Z": "known_at_refused",
        "2024-02-03T05:59:59Z": "as_of_refused",
        "soon": "usage",
    }.items():
        code, answer = train(known_at)
        assert (code, answer["error"]) == (2 if error == "usage" else 1, error)


# Another process, another PostgreSQL.


@pytest.mark.slow
def test_every_version_is_identical_in_a_fresh_process(
    ready: Platform, trained: Trained, cli: Callable[..., Any]
) -> None:
    third = training_run.train(ready, JANUARY, "lightgbm", 7, TRAINED)
    done = cli(
        *("reproduce", "--all", "--json"),
        STREAMFLOW_HOME=str(trained.home),
        STREAMFLOW_DATABASE_URL=ready.database.url,
        PYTHONWARNINGS="error",  # a library's warning is nobody's error
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = json.loads(done.stdout)
    assert [(one["version"], one["verdict"]) for one in answers] == [
        (third.version, "identical"),
        (trained.forest.version, "identical"),
        (trained.run.version, "identical"),
    ]
    assert all(factor["same"] for one in answers for factor in one["factors"])


@pytest.mark.skipif(machine() != "x86_64", reason="the kernels that are asked for are of x86-64")
@pytest.mark.slow
def test_other_kernels_of_blas_are_named_and_change_a_linear_model_alone(
    ready: Platform, trained: Trained, cli: Callable[..., Any]
) -> None:
    """No simulation: OpenBLAS really adds up as on a processor of another family."""
    done = cli(
        *("reproduce", "--all", "--json"),
        STREAMFLOW_HOME=str(trained.home),
        STREAMFLOW_DATABASE_URL=ready.database.url,
        OPENBLAS_CORETYPE="Nehalem",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    forest, linear = json.loads(done.stdout)
    for answer in (forest, linear):
        assert [one["name"] for one in answer["factors"][:-1] if not one["same"]] == ["environment"]
        assert answer["factors"][2]["said"][0].startswith("BLAS of numpy: openblas ")
    assert (forest["verdict"], linear["verdict"]) == ("identical", "different")
    assert linear["why"].startswith("environment moved: BLAS of numpy: ")


@pytest.mark.slow
def test_a_training_that_was_programmed_otherwise_is_named(
    ready: Platform, trained: Trained, cli: Callable[..., Any], tmp_path: Path
) -> None:
    source = shutil.copytree(
        Path(fit.__file__).parents[2],
        tmp_path / "src",
        ignore=shutil.ignore_patterns("__pycache__", ".*"),
    )
    module = source / "streamflow" / "training" / "split.py"
    text = module.read_text(encoding="utf-8")
    assert "np.arange(len(labels))," in text
    module.write_text(
        text.replace("np.arange(len(labels)),", "np.arange(len(labels))[::-1],"), encoding="utf-8"
    )
    done = cli(
        *("reproduce", trained.run.run_id, "--json"),
        STREAMFLOW_HOME=str(trained.home),
        STREAMFLOW_DATABASE_URL=ready.database.url,
        PYTHONPATH=str(source),
    )
    assert done.returncode == 1, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert [one["name"] for one in answer["factors"] if not one["same"]] == ["code", "model"]
    assert answer["factors"][1]["said"][0].endswith(", 1 file: streamflow/training/split.py")
    assert answer["why"].startswith("code moved: ")
