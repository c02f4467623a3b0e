"""What is read of the registry without MLflow, held against MLflow's own answers."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tests.statements import execute

from streamflow.bootstrap import platform
from streamflow.errors import MlflowUnavailable, UnservableModel
from streamflow.operations import processes, servers
from streamflow.platform import Platform
from streamflow.registry import mlflow_registry
from streamflow.registry.mlflow_registry import Registry
from streamflow.registry.model_cache import ModelCache
from streamflow.registry.production import (
    DatabaseReader,
    ProductionReader,
    ServerReader,
    StagesReader,
)
from streamflow.registry.records import MODEL_HASH_TAG, ModelVersion
from streamflow.settings import load_settings
from streamflow.training import served_model
from streamflow.training.served_model import Feature, FeatureSchema

MODEL = "streamflow_churn"
SCHEMA = FeatureSchema(
    "one", "user", "user_id", (Feature("visits", "activity", "INT64", nullable=False),)
)


class Nobody:
    """Stands where MLflow would be asked, which these tests don't want."""

    def production(self) -> ModelVersion | None:
        raise AssertionError("MLflow was asked")

    def download(self, version: ModelVersion) -> Path:
        raise AssertionError("MLflow was asked")


@pytest.fixture(scope="module")
def ready(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    home = tmp_path_factory.mktemp("a home")
    url = new_database(prepared_database)
    with platform(load_settings(home=home, database_url=url, use_case="churn")) as opened:
        yield opened


@pytest.fixture(scope="module")
def server(ready: Platform) -> Iterator[str]:
    """MLflow's server over the same registry."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with processes.running([servers.mlflow_server(ready, port)]) as (child,):
        child.wait_until_ready()
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def versions(ready: Platform, server: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two registered versions, one through the database and one through the server."""
    import mlflow

    folder = tmp_path_factory.mktemp("served")
    (folder / served_model.SCHEMA_FILE).write_text(SCHEMA.to_json())
    (folder / "model.onnx").write_bytes(b"not read here")
    digest = served_model.digest(folder)
    for uri, experiment in ((ready.registry.uri, "by database"), (server, "by server")):
        client = MlflowClient(uri, uri)
        location = ready.artifacts.as_uri() if uri != server else None
        run = client.create_run(client.create_experiment(experiment, location))
        mlflow.set_tracking_uri(uri)
        client.log_artifacts(run.info.run_id, str(folder), "model/data/served")
        if not client.search_registered_models():
            client.create_registered_model(MODEL)
        client.create_model_version(
            MODEL,
            source=f"{run.info.artifact_uri}/model",
            run_id=run.info.run_id,
            tags={MODEL_HASH_TAG: digest},
        )
    return [digest, digest]


@pytest.fixture(params=["database", "server"])
def thin(
    request: pytest.FixtureRequest, ready: Platform, server: str, tmp_path: Path
) -> StagesReader:
    cache = ModelCache(tmp_path, ready.artifacts)
    if request.param == "database":
        return DatabaseReader(ready.database, MODEL, cache, Nobody())
    return ServerReader(server, MODEL, cache, Nobody())


def test_production_is_what_mlflow_says(
    thin: ProductionReader, ready: Platform, versions: list[str], tmp_path: Path
) -> None:
    registry = Registry(ready.registry.uri, MODEL, None, ModelCache(tmp_path, ready.artifacts))
    client = MlflowClient(ready.registry.uri, ready.registry.uri)
    stages = [("1", "Production"), ("2", "Production"), ("2", "Staging"), ("1", "Archived")]
    for number, stage in stages:
        client.transition_model_version_stage(MODEL, number, stage)
        expected = registry.production()
        assert thin.production() == expected
    assert expected is None


def test_a_version_by_its_number_is_what_mlflow_says(
    thin: StagesReader, ready: Platform, versions: list[str]
) -> None:
    client = MlflowClient(ready.registry.uri, ready.registry.uri)
    for number in (1, 2):
        told = client.get_model_version(MODEL, str(number))
        stage, digest = told.current_stage, versions[number - 1]
        assert thin.version(number) == ModelVersion(
            MODEL, number, told.run_id, stage, (), {}, digest
        )
    gone = client.create_model_version(MODEL, source="file:///nowhere")
    client.delete_model_version(MODEL, gone.version)
    assert (thin.version(int(gone.version)), thin.version(9)) == (None, None)


def test_files_are_those_that_were_registered(thin: ProductionReader, versions: list[str]) -> None:
    number = 1 if isinstance(thin, DatabaseReader) else 2
    version = ModelVersion(MODEL, number, "run", "None", (), {}, versions[number - 1])
    folder = thin.download(version)
    assert served_model.digest(folder) == versions[number - 1]
    # What is there already is neither fetched again nor trusted without a look.
    (folder / "model.onnx").write_bytes(b"somebody wrote over it")
    assert served_model.digest(thin.download(version)) == versions[number - 1]


def test_files_that_arent_the_registered_ones_are_refused(
    thin: ProductionReader, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 1 if isinstance(thin, DatabaseReader) else 2
    with pytest.raises(UnservableModel, match="hash differs"):
        thin.download(ModelVersion(MODEL, number, "run", "None", (), {}, "0" * 64))


def test_files_that_were_changed_in_the_artifact_store_are_refused(
    thin: ProductionReader, ready: Platform, versions: list[str], tmp_path: Path
) -> None:
    number = 1 if isinstance(thin, DatabaseReader) else 2
    version = ModelVersion(MODEL, number, "run", "None", (), {}, versions[number - 1])
    stored = sorted(ready.artifacts.rglob("model.onnx"))
    assert len(stored) == len(versions)
    for file in stored:
        file.write_bytes(b"not what was put here")
    try:
        with pytest.raises(UnservableModel, match="hash differs"):
            thin.download(version)
    finally:
        for file in stored:
            file.write_bytes(b"not read here")
    assert not (tmp_path / version.model_hash).exists()
    assert served_model.digest(thin.download(version)) == version.model_hash


def test_what_cant_be_read_thinly_is_asked_of_mlflow(
    ready: Platform, versions: list[str], tmp_path: Path
) -> None:
    asked = []

    class Mlflow(Nobody):
        def download(self, version: ModelVersion) -> Path:
            asked.append(version.version)
            return tmp_path

    elsewhere = DatabaseReader(
        ready.database, MODEL, ModelCache(tmp_path, ready.artifacts), Mlflow()
    )
    version = ModelVersion(MODEL, 2, "run", "None", (), {}, "0" * 64)
    assert elsewhere.download(version) == tmp_path
    assert asked == [2]


# A registry names what is served, and is written by more people than may serve.


@pytest.mark.parametrize("tag", ["", "../../etc", "/etc", "0" * 63, "A" * 64, "0" * 64 + "\n"])
def test_a_tag_that_isnt_a_hash_is_no_path(
    tag: str, thin: ProductionReader, ready: Platform, versions: list[str]
) -> None:
    version = ModelVersion(MODEL, 1, "run", "None", (), {}, tag)
    for reader in (thin, ready.registry):
        with pytest.raises(UnservableModel, match=r"streamflow\.model_hash (is|where)"):
            reader.download(version)


@pytest.fixture
def elsewhere(
    ready: Platform, versions: list[str], tmp_path: Path
) -> Iterator[Callable[[str], None]]:
    """Moves the first version's files to another location, as who writes the registry could."""
    before = ready.database.row("version_files", model=MODEL, version=1)["location"]

    def move(location: str) -> None:
        execute(
            ready.database,
            f"UPDATE mlflow.model_versions SET storage_location = %s WHERE name = '{MODEL}' "
            "AND version = 1",
            [location],
        )

    yield move
    move(before)


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc",
        "/etc",
        "{store}/../elsewhere",
        "{store}/a link",
        "relative",
        "mlflow-artifacts://another.example.org/models",
        "https://another.example.org/models",
    ],
)
def test_files_outside_the_store_are_refused(
    location: str,
    elsewhere: Callable[[str], None],
    ready: Platform,
    versions: list[str],
    tmp_path: Path,
) -> None:
    outside = tmp_path / "a store" / ".." / "elsewhere"
    store = tmp_path / "a store"
    store.mkdir()
    shutil.copytree(ready.artifacts, tmp_path / "elsewhere")
    (store / "a link").symlink_to(outside)
    cache = ModelCache(tmp_path / "cache", store)
    by_mlflow = Registry(ready.registry.uri, MODEL, None, cache)
    version = ModelVersion(MODEL, 1, "run", "None", (), {}, versions[0])
    elsewhere(location.format(store=store))
    for reader in (DatabaseReader(ready.database, MODEL, cache, by_mlflow), by_mlflow):
        with pytest.raises(UnservableModel, match="outside the store"):
            reader.download(version)
    assert not (tmp_path / "cache").exists()


def test_another_home_finds_the_files_where_the_models_experiment_was_made(
    ready: Platform, versions: list[str], tmp_path: Path
) -> None:
    cache = ModelCache(tmp_path / "cache", tmp_path / "another home" / "mlflow")
    by_mlflow = Registry(ready.registry.uri, MODEL, None, cache)
    version = ModelVersion(MODEL, 1, "run", "None", (), {}, versions[0])
    with pytest.raises(UnservableModel, match="outside the store"):
        by_mlflow.download(version)
    MlflowClient(ready.registry.uri).create_experiment(MODEL, ready.artifacts.as_uri())
    for reader in (DatabaseReader(ready.database, MODEL, cache, by_mlflow), by_mlflow):
        folder = reader.download(version)
        assert served_model.digest(folder) == versions[0]
        shutil.rmtree(folder)


def test_a_link_in_the_store_isnt_followed_out_of_it(
    ready: Platform, versions: list[str], tmp_path: Path
) -> None:
    store = shutil.copytree(ready.artifacts, tmp_path / "store")
    (file, *_) = store.rglob("model.onnx")
    file.rename(tmp_path / "outside")
    file.symlink_to(tmp_path / "outside")
    version = ModelVersion(MODEL, 1, "run", "None", (), {}, versions[0])
    with pytest.raises(UnservableModel, match="hash differs"):
        ModelCache(tmp_path / "cache", store).files(version, lambda _: file.parent)


def test_a_model_that_is_too_large_is_refused_by_its_size(
    thin: ProductionReader, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 1 if isinstance(thin, DatabaseReader) else 2
    version = ModelVersion(MODEL, number, "run", "None", (), {}, versions[number - 1])
    whole = thin._cache  # type: ignore[attr-defined]
    size = sum(file.stat().st_size for file in thin.download(version).iterdir())
    shutil.rmtree(whole.folder / version.model_hash)
    monkeypatch.setattr(ModelCache, "max_bytes", size - 1)
    with pytest.raises(UnservableModel, match=r"larger than .* MB"):
        thin.download(version)
    assert not list(whole.folder.rglob("model.onnx"))
    monkeypatch.setattr(ModelCache, "max_bytes", size)
    assert thin.download(version).is_dir()


def test_runs_and_versions_are_read_to_their_last_page(
    ready: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version of an old run has its metrics, which a rollback's gates look at."""
    registry = Registry(ready.registry.uri, "paged", ready.artifacts, ready.registry.cache)
    client = MlflowClient(registry.uri, registry.uri)
    client.create_registered_model("paged")
    runs = []
    for number in range(5):
        runs.append(registry.create_run(f"run {number}"))
        client.log_metric(runs[-1], "auc", number / 10)
        client.create_model_version("paged", ready.artifacts.as_uri(), runs[-1])
    whole = registry.versions()
    monkeypatch.setattr(mlflow_registry, "PAGE", 2)
    assert {run.run_id for run in registry.runs()} == set(runs)
    assert registry.versions() == whole
    assert registry.version(1).metrics == {"auc": 0.0}


def test_a_database_without_a_registry_has_no_production(
    new_database: Callable[..., str], tmp_path: Path
) -> None:
    settings = load_settings(home=tmp_path, database_url=new_database(), use_case="churn")
    with platform(settings) as opened:
        assert opened.production.production() is None


def test_a_server_that_is_away_is_told_as_that(tmp_path: Path) -> None:
    away = ServerReader("http://127.0.0.1:1", MODEL, ModelCache(tmp_path, tmp_path), Nobody())
    with pytest.raises(MlflowUnavailable, match=r"127\.0\.0\.1:1"):
        away.production()
