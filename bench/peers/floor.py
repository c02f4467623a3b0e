"""The floor: FastAPI and uvicorn alone, for a POST with a constant response.

Run as `python -m bench.peers.floor PORT`.
"""

import sys

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse


def create_app() -> FastAPI:
    """The app with its two endpoints."""
    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.post("/predict")
    async def predict() -> JSONResponse:
        return JSONResponse({"prediction": 0, "probability": 0.25})

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(), port=int(sys.argv[1]), access_log=False, log_level="warning")
