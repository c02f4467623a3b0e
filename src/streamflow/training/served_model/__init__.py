"""The model as it is served: a folder without code, and the few lines that score with it.

    feature_schema.json     what the model needs: names, views, types, order, ages, values seen
    columns.onnx            of a pipeline on columns: the encoded matrix as what the model takes
    calibration.json        of one whose probabilities are corrected: how
    model.onnx              or model.lightgbm.txt, or model.xgboost.json: forms that can't run code

This package travels as a whole with every MLflow model version (`_load_pyfunc` is MLflow's entry
point), so it imports nothing of StreamFlow, and its own modules relatively; any MLflow user gets
the API's own scores from it.
"""

from .calibration import CALIBRATION_FILE, Calibration, calibration
from .coded_texts import CodedTexts
from .columns_graph import COLUMNS_FILE, ColumnsGraph, columns_graph
from .encoding import Columns, Matrix, UnseenCategory, UnseenNull, encode, encoded_columns
from .feature_schema import (
    SCHEMA_FILE,
    WITH_CALIBRATION,
    WITH_COLUMNS,
    Feature,
    FeatureSchema,
    Layout,
)
from .model import FORMS, Labels, Score, ServedModel, digest, load
from .python_function import _load_pyfunc

__all__ = [
    "CALIBRATION_FILE",
    "COLUMNS_FILE",
    "FORMS",
    "SCHEMA_FILE",
    "WITH_CALIBRATION",
    "WITH_COLUMNS",
    "Calibration",
    "CodedTexts",
    "Columns",
    "ColumnsGraph",
    "Feature",
    "FeatureSchema",
    "Labels",
    "Layout",
    "Matrix",
    "Score",
    "ServedModel",
    "UnseenCategory",
    "UnseenNull",
    "_load_pyfunc",
    "calibration",
    "columns_graph",
    "digest",
    "encode",
    "encoded_columns",
    "load",
]
