"""The fastest way with Feast and ONNX Runtime: the async client, a session, no DataFrame.

Run as `python -m bench.peers.asynchronous FEAST_FOLDER FEATURE_SERVICE MODEL_FOLDER PORT`. The
model's folder contains `model.onnx` and `feature_schema.json`: the model that StreamFlow serves.
"""

# No `from __future__ import annotations`: FastAPI reads types that are defined in `create_app`.
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from feast import FeatureStore
from pydantic import BaseModel


class PredictRequest(BaseModel):
    """The body of `/predict`."""

    user_id: str


def create_app(feast_folder: str, feature_service: str, model_folder: str) -> FastAPI:
    """The app with its endpoints."""
    store = FeatureStore(repo_path=feast_folder)
    service = store.get_feature_service(feature_service)
    columns = json.loads((Path(model_folder) / "feature_schema.json").read_text())["features"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(Path(model_folder) / "model.onnx"), options)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await store.initialize()
        yield
        await store.close()

    app = FastAPI(lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.post("/predict")
    async def predict(request: PredictRequest) -> dict[str, Any]:
        response = await store.get_online_features_async(
            features=service, entity_rows=[{"user_id": request.user_id}]
        )
        row = encoded(columns, response.to_dict())
        labels, probabilities = session.run(None, {"features": np.array([row], dtype=np.float32)})
        return {
            "user_id": request.user_id,
            "prediction": int(labels[0]),
            "probability": float(probabilities[0, 1]),
        }

    return app


def encoded(columns: list[dict[str, Any]], features: dict[str, list[Any]]) -> list[float]:
    """One entity's features as the model's row: text one-hot, a column that marks a null."""
    row: list[float] = []
    for column in columns:
        value = features[column["name"]][0]
        if column["type"] == "STRING":
            row += [float(value == category) for category in column["categories"]]
        else:
            row.append(0.0 if value is None else float(value))
        if column["nullable"]:
            row.append(float(value is None))
    return row


if __name__ == "__main__":
    *arguments, port = sys.argv[1:]
    uvicorn.run(create_app(*arguments), port=int(port), access_log=False, log_level="warning")
