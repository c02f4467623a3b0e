"""The model as it is served: a folder without code, and the few lines that score with it.

    feature_schema.json     what the model needs: names, views, types, order, nullability, ages
    model.onnx              or model.lightgbm.txt, or model.xgboost.json: forms that can't run code

The same file travels with every MLflow model version (`_load_pyfunc` is MLflow's entry point), so
it imports nothing of StreamFlow, and any MLflow user gets the API's own scores from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pandas import DataFrame

Matrix = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Columns = Mapping[str, Sequence[Any]]  # by feature, a value per row
Score = Callable[[Matrix], tuple[Labels, Matrix]]

SCHEMA_FILE = "feature_schema.json"


@dataclass(frozen=True)
class Feature:
    """One column that the model needs. `max_age_seconds` is None where any age is allowed.

    `categories` holds a STRING feature's values seen in training, sorted.
    """

    name: str
    feature_view: str
    type: Literal["INT64", "FLOAT64", "BOOL", "STRING"]
    nullable: bool
    max_age_seconds: float | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class FeatureSchema:
    """The one list of a model's features, in the feature service's order."""

    feature_service: str
    entity: str
    join_key: str
    features: tuple[Feature, ...]

    @property
    def views(self) -> tuple[str, ...]:
        """The feature views, in the order in which their first features come."""
        return tuple(dict.fromkeys(feature.feature_view for feature in self.features))

    @property
    def categorical(self) -> list[str]:
        """The names of the STRING features."""
        return [feature.name for feature in self.features if feature.type == "STRING"]

    @cached_property
    def layout(self) -> Layout:
        """Where `encode` puts each feature."""
        return Layout.from_features(self.features)

    def to_json(self) -> str:
        """The document `feature_schema.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> FeatureSchema:
        """The schema that `to_json` wrote."""
        document = json.loads(text)
        features = tuple(
            Feature(**{**feature, "categories": tuple(feature["categories"])})
            for feature in document.pop("features")
        )
        return FeatureSchema(features=features, **document)


@dataclass(frozen=True)
class Layout:
    """Where `encode` puts features.

    `columns` has per feature its first column and, for a STRING, the offset of each of its values
    from there. `nullable` are the columns of other types that may be null; the column after each
    holds 1 where it is null.
    """

    width: int
    columns: tuple[tuple[Feature, int, Mapping[object, int] | None], ...]
    nullable: npt.NDArray[np.intp]

    @staticmethod
    def from_features(features: Sequence[Feature]) -> Layout:
        """The layout of these features, in their order."""
        *starts, width = accumulate(map(_width, features), initial=0)
        offsets = [_offsets(one) if one.type == "STRING" else None for one in features]
        columns = tuple(zip(features, starts, offsets, strict=True))
        nullable = [start for one, start, values in columns if one.nullable and values is None]
        return Layout(width, columns, np.array(nullable, np.intp))


def _width(feature: Feature) -> int:
    return (len(feature.categories) if feature.type == "STRING" else 1) + feature.nullable


def _offsets(feature: Feature) -> dict[object, int]:
    values = (*feature.categories, None) if feature.nullable else feature.categories
    return {value: i for i, value in enumerate(values)}


class UnseenCategory(ValueError):
    """A value of a categorical feature that training never saw, so that any score is a guess."""

    def __init__(self, feature: str, value: str) -> None:
        super().__init__(f"feature {feature!r} has the unseen value {value!r}")
        self.feature = feature
        self.value = value


def encode(schema: FeatureSchema, columns: Columns) -> Matrix:
    """Features as a matrix of float64: a row per entity; per feature a column, or several.

    A STRING is one-hot. A null is 0 with a 1 in a column of its own, so that no model has to know
    of NaN and "not applicable" stays apart from 0. Raises UnseenCategory for a value that training
    never saw, ValueError for a null (or NaN) in a feature that isn't nullable, KeyError for a
    missing column.
    """
    layout = schema.layout
    rows = len(columns[schema.features[0].name]) if schema.features else 0
    matrix = np.zeros((rows, layout.width))
    every_row = np.arange(rows)
    for feature, start, offsets in layout.columns:
        values = columns[feature.name]
        if len(values) != rows:
            raise ValueError(f"feature {feature.name!r} has {len(values)} values for {rows} rows")
        if offsets is not None:
            matrix[every_row, start + _found(feature, offsets, values)] = 1.0
        else:
            matrix[:, start] = values  # NumPy reads None as NaN here, and True as 1
    # The whole matrix at once: per request, a check per feature takes longer than the score.
    is_null = np.isnan(matrix)
    if nulls := np.count_nonzero(is_null):
        allowed = is_null[:, layout.nullable]
        if np.count_nonzero(allowed) < nulls:
            strict = ((one, start) for one, start, _ in layout.columns if not one.nullable)
            raise _null(next(one for one, start in strict if is_null[:, start].any()))
        matrix[is_null] = 0.0
        matrix[:, layout.nullable + 1] = allowed
    return matrix


def encoded_columns(schema: FeatureSchema) -> list[slice]:
    """Which of `encode`'s columns each feature takes, in the schema's order."""
    starts = [start for _, start, _ in schema.layout.columns]
    return [slice(start, end) for start, end in pairwise([*starts, schema.layout.width])]


def _found(
    feature: Feature, offsets: Mapping[object, int], values: Sequence[object]
) -> npt.NDArray[np.intp]:
    found = np.fromiter((offsets.get(value, -1) for value in values), np.intp, len(values))
    for row in np.flatnonzero(found < 0).tolist():
        value = values[row]
        if value is not None and value == value:
            raise UnseenCategory(feature.name, str(value))
        if not feature.nullable:
            raise _null(feature)
        found[row] = offsets[None]  # a NaN, as pandas has nulls among strings
    return found


def _null(feature: Feature) -> ValueError:
    return ValueError(f"feature {feature.name!r} is null, which the model doesn't allow")


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

    Raises FileNotFoundError if the folder holds no model in a known form.
    """
    schema = FeatureSchema.from_json((folder / SCHEMA_FILE).read_text(encoding="utf-8"))
    for name, score_with in FORMS.items():
        if (folder / name).exists():
            return ServedModel(schema, score_with(folder / name))
    raise FileNotFoundError(f"no {', '.join(FORMS)} in {folder}")


def _onnx(path: Path) -> Score:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
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


class _PythonFunction:
    """A served model as MLflow's pyfunc calls it: a DataFrame in, a DataFrame out."""

    def __init__(self, model: ServedModel) -> None:
        self.model = model

    def predict(self, frame: DataFrame, params: dict[str, object] | None = None) -> DataFrame:
        """`prediction` (0 or 1) and `probability` of 1, with the frame's own index."""
        import pandas

        columns = {}
        for feature in self.model.schema.features:
            # pandas has several nulls, some of which can't even be compared; None is ours.
            values = frame[feature.name].astype(object)
            columns[feature.name] = values.where(values.notna(), None).tolist()
        labels, probabilities = self.model.predict(columns)
        return pandas.DataFrame(
            {"prediction": labels, "probability": probabilities}, index=frame.index
        )


def _load_pyfunc(path: str) -> _PythonFunction:
    return _PythonFunction(load(Path(path)))
