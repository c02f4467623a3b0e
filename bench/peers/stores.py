"""What the peers use: Feast's own online stores, filled by Feast, and a scikit-learn model."""

from __future__ import annotations

import csv
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg.conninfo import conninfo_to_dict

from bench.peers.workplace import MONTH, Workplace
from streamflow.history.as_of import event_timestamp

if TYPE_CHECKING:
    from pandas import DataFrame

PLAIN_MODEL = "plain_churn"


def _server(place: Workplace) -> dict[str, Any]:
    parts = conninfo_to_dict(place.url)
    return {
        "type": "postgres",
        "host": parts["host"],
        "port": int(parts["port"] or 5432),
        "database": parts["dbname"],
        "user": parts["user"],
        "password": parts["password"],
        "sslmode": "disable",
    }


def postgres_store(place: Workplace) -> dict[str, Any]:
    """Feast's own PostgreSQL store in the same server, as its documentation configures it.

    With a pool: by default, all threads share one connection.
    """
    return {**_server(place), "db_schema": "peer", "conn_type": "pool", "max_conn": 16}


def feast_folder(place: Workplace, name: str, online_store: dict[str, Any]) -> Path:
    """A folder with `feature_store.yaml`, its definitions applied and all users materialized."""
    import yaml
    from feast import FeatureStore

    folder = place.folder / name
    folder.mkdir()
    configuration = {
        "project": "churn",
        "provider": "local",
        "registry": str(folder / "registry.db"),
        "offline_store": {**_server(place), "db_schema": "churn"},
        "online_store": online_store,
        "entity_key_serialization_version": 3,
    }
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(configuration))
    store = FeatureStore(repo_path=str(folder))
    end = event_timestamp(MONTH)
    with quietly():
        store.apply(place.use_case.features())
        store.materialize(end - timedelta(days=1), end)
    return folder


def features_of(place: Workplace, folder: Path) -> DataFrame:
    """A DataFrame of all users' features, in the feature service's order, without their ids."""
    from feast import FeatureStore

    store = FeatureStore(repo_path=str(folder))
    service = store.get_feature_service(place.use_case.feature_service)
    rows = [{place.use_case.join_key: user} for user in place.users]
    frame = store.get_online_features(features=service, entity_rows=rows).to_df()
    return frame[
        [field.name for view in service.feature_view_projections for field in view.features]
    ]


def plain_model(place: Workplace, frame: DataFrame) -> str:
    """The URI of a registered scikit-learn pipeline: one-hot encoding, a forest like ours."""
    import mlflow
    from sklearn.compose import make_column_transformer
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    with (place.month / "labels.csv").open(encoding="utf-8", newline="") as lines:
        label = {row["user_id"]: row["churn_label"] == "True" for row in csv.DictReader(lines)}
    labels = [label[user] for user in place.users]
    words = [name for name in frame.columns if frame[name].dtype in (object, bool)]
    pipeline = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), words), remainder="passthrough"
        ),
        place.use_case.models[place.use_case.default_model](42),
    )
    chosen, _ = train_test_split(
        range(len(frame)), test_size=0.25, stratify=labels, random_state=42
    )
    pipeline.fit(frame.iloc[chosen], [labels[i] for i in chosen])
    mlflow.set_tracking_uri(place.mlflow_uri)
    mlflow.set_registry_uri(place.mlflow_uri)
    artifacts = (place.folder / "mlflow").as_uri()
    with (
        quietly(),
        mlflow.start_run(experiment_id=mlflow.create_experiment(PLAIN_MODEL, artifacts)),
    ):
        mlflow.sklearn.log_model(
            pipeline,
            name="plain",
            registered_model_name=PLAIN_MODEL,
            signature=mlflow.models.infer_signature(frame),
            serialization_format="cloudpickle",
            pyfunc_predict_fn="predict_proba",
            pip_requirements=["scikit-learn"],
        )
        client = mlflow.MlflowClient()
        client.transition_model_version_stage(PLAIN_MODEL, "1", "Production")
    return f"models:/{PLAIN_MODEL}/Production"


def onnx_folder(place: Workplace) -> Path:
    """Our model in Production as MLflow stores it: `model.onnx` and `feature_schema.json`."""
    import mlflow

    mlflow.set_tracking_uri(place.mlflow_uri)
    mlflow.set_registry_uri(place.mlflow_uri)
    with quietly():
        downloaded = mlflow.artifacts.download_artifacts(
            f"models:/{place.use_case.registered_model}/Production",
            dst_path=str(place.folder / "onnx"),
        )
    return next(Path(downloaded).rglob("model.onnx")).parent


@contextmanager
def quietly() -> Iterator[None]:
    """Hide the messages that Feast and MLflow print for each step."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with (
        warnings.catch_warnings(),
        redirect_stdout(StringIO()),
        redirect_stderr(StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield
