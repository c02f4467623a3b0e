"""A model out of its folder, in the forms that can't run code."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .calibration import Calibration, calibration
from .columns_graph import columns_graph, onnx_session
from .encoding import Columns, Matrix, encode
from .feature_schema import SCHEMA_FILE, FeatureSchema

Labels = npt.NDArray[np.int64]
Score = Callable[[Matrix], tuple[Labels, Matrix]]


@dataclass(frozen=True)
class ServedModel:
    """A model that is ready to score: `score` takes a matrix as `encode` makes it."""

    schema: FeatureSchema
    score: Score

    def predict(self, columns: Columns) -> tuple[Labels, Matrix]:
        """Labels (0 or 1, the model's own) and probabilities of 1, one per row of `columns`."""
        matrix = encode(self.schema, columns)
        if not len(matrix):
            return np.empty(0, np.int64), np.empty(0)
        return self.score(matrix)


def digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of the folder's files: the model's identity."""
    sha = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        content = path.read_bytes()
        sha.update(f"{path.name}\0{len(content)}\0".encode())
        sha.update(content)
    return sha.hexdigest()


def load(folder: Path) -> ServedModel:
    """The model in `folder`, loaded with one thread, so that a sum has one order.

    Raises FileNotFoundError if the folder holds no model in a known form, ValueError if a newer
    release has written it in a format that this one doesn't know.
    """
    schema = FeatureSchema.from_json((folder / SCHEMA_FILE).read_text(encoding="utf-8"))
    for name, score_with in FORMS.items():
        if (folder / name).exists():
            score = score_with(folder / name)
            columns = columns_graph(folder)
            if columns is not None:
                score = _after(columns, score)
            correction = calibration(folder)
            if correction is not None:
                score = _corrected(score, correction)
            return ServedModel(schema, score)
    raise FileNotFoundError(f"no {', '.join(FORMS)} in {folder}")


def _after(columns: Callable[[Matrix], Matrix], score: Score) -> Score:
    return lambda matrix: score(columns(matrix))


def _corrected(score: Score, correction: Calibration) -> Score:
    def corrected(matrix: Matrix) -> tuple[Labels, Matrix]:
        probabilities = correction(score(matrix)[1])
        return (probabilities > 0.5).astype(np.int64), probabilities

    return corrected


def _onnx(path: Path) -> Score:
    session = onnx_session(path)
    source = session.get_inputs()[0]
    kind = np.float32 if source.type == "tensor(float)" else np.float64

    def score(matrix: Matrix) -> tuple[Labels, Matrix]:
        labels, probabilities = session.run(None, {source.name: matrix.astype(kind)})
        return labels.astype(np.int64), probabilities[:, 1].astype(np.float64)

    return score


def _lightgbm(path: Path) -> Score:
    import lightgbm

    text = path.read_text(encoding="utf-8")
    # A file cut short inside its trees ends the whole process, so it mustn't get to LightGBM.
    if "\nend of trees\n" not in text:
        raise ValueError(f"{path.name} is cut short: it has no end of trees")
    booster = lightgbm.Booster(model_str=text)

    def score(matrix: Matrix) -> tuple[Labels, Matrix]:
        probabilities = np.asarray(booster.predict(matrix, num_threads=1), dtype=np.float64)
        return (probabilities > 0.5).astype(np.int64), probabilities

    return score


def _xgboost(path: Path) -> Score:
    import xgboost

    booster = xgboost.Booster(model_file=str(path))
    booster.set_param({"nthread": 1})

    def score(matrix: Matrix) -> tuple[Labels, Matrix]:
        probabilities = np.asarray(booster.inplace_predict(matrix), dtype=np.float64)
        return (probabilities > 0.5).astype(np.int64), probabilities

    return score


FORMS: Mapping[str, Callable[[Path], Score]] = {
    "model.onnx": _onnx,
    "model.lightgbm.txt": _lightgbm,
    "model.xgboost.json": _xgboost,
}
