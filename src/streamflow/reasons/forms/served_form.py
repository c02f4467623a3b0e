"""The sum of the model that lies in a folder as it is served."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from streamflow.reasons.forms.lightgbm_text import lightgbm_sum
from streamflow.reasons.forms.onnx_forest import onnx_forest_sum
from streamflow.reasons.forms.onnx_linear import onnx_linear_sum
from streamflow.reasons.forms.trees import LinearSum, ScoreSum, Unexplainable
from streamflow.reasons.forms.xgboost_json import xgboost_sum
from streamflow.training.served_model import Calibration, calibration


def score_sum(folder: Path) -> ScoreSum:
    """What the served file adds up to a score. Raises Unexplainable if it isn't a sum."""
    correction, score = calibration(folder), _model_sum(folder)
    return score if correction is None else _corrected(score, correction)


def _corrected(score: ScoreSum, correction: Calibration) -> ScoreSum:
    """The sum in log-odds of corrected probabilities: where each is a straight line of the other,
    a feature's part is the same line's."""
    if correction.method != "sigmoid" or correction.of != score.scale:
        raise Unexplainable(
            f"a model whose probabilities are corrected ({correction.method}, of a "
            f"{correction.of}), so that they are no sum any more"
        )
    slope, offset = correction.slope, correction.slope * score.offset + correction.intercept
    if isinstance(score, LinearSum):
        return LinearSum(offset, score.weights * slope)
    trees = [replace(one, value=one.value * slope) for one in score.trees]
    return replace(score, scale="log-odds", offset=offset, trees=trees)


def _model_sum(folder: Path) -> ScoreSum:
    if (path := folder / "model.lightgbm.txt").exists():
        return lightgbm_sum(path.read_text(encoding="utf-8"))
    if (path := folder / "model.xgboost.json").exists():
        return xgboost_sum(path.read_text(encoding="utf-8"))
    import onnx

    graph = onnx.load_from_string((folder / "model.onnx").read_bytes()).graph
    operators = {node.op_type for node in graph.node}
    is_forest = any(operator.startswith("TreeEnsemble") for operator in operators)
    return onnx_forest_sum(graph) if is_forest else onnx_linear_sum(graph)
