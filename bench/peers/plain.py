"""The plain way: Feast's SDK, a DataFrame, MLflow's pyfunc, in an ordinary FastAPI endpoint.

Run as `python -m bench.peers.plain FEAST_FOLDER FEATURE_SERVICE MODEL_URI PORT`. The
online store is configured in the folder's `feature_store.yaml`.
"""

# No `from __future__ import annotations`: FastAPI reads types that are defined in `create_app`.
import sys
from typing import Any

import mlflow
import uvicorn
from fastapi import FastAPI
from feast import FeatureStore
from pydantic import BaseModel


class PredictRequest(BaseModel):
    """The body of `/predict`."""

    user_id: str


class BatchRequest(BaseModel):
    """The body of `/predict/batch`."""

    user_ids: list[str]


def create_app(folder: str, feature_service: str, model_uri: str) -> FastAPI:
    """The app with its endpoints."""
    store = FeatureStore(repo_path=folder)
    service = store.get_feature_service(feature_service)
    model = mlflow.pyfunc.load_model(model_uri)
    names = [column.name for column in model.metadata.get_input_schema()]
    app = FastAPI()

    def score(user_ids: list[str]) -> list[dict[str, Any]]:
        rows = [{"user_id": user_id} for user_id in user_ids]
        features = store.get_online_features(features=service, entity_rows=rows).to_df()
        probabilities = model.predict(features[names])[:, 1]
        return [
            {
                "user_id": user_id,
                "prediction": int(probability > 0.5),
                "probability": float(probability),
            }
            for user_id, probability in zip(user_ids, probabilities, strict=True)
        ]

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.post("/predict")
    def predict(request: PredictRequest) -> dict[str, Any]:
        return score([request.user_id])[0]

    @app.post("/predict/batch")
    def predict_batch(request: BatchRequest) -> list[dict[str, Any]]:
        return score(request.user_ids)

    return app


if __name__ == "__main__":
    *arguments, port = sys.argv[1:]
    uvicorn.run(create_app(*arguments), port=int(port), access_log=False, log_level="warning")
