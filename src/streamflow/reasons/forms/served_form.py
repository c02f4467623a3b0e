"""The sum of the model that lies in a folder as it is served."""

from __future__ import annotations

from pathlib import Path

from streamflow.reasons.forms.lightgbm_text import lightgbm_sum
from streamflow.reasons.forms.onnx_forest import onnx_forest_sum
from streamflow.reasons.forms.onnx_linear import onnx_linear_sum
from streamflow.reasons.forms.trees import ScoreSum
from streamflow.reasons.forms.xgboost_json import xgboost_sum


def score_sum(folder: Path) -> ScoreSum:
    """What the served file adds up to a score. Raises Unexplainable if it isn't a sum."""
    if (path := folder / "model.lightgbm.txt").exists():
        return lightgbm_sum(path.read_text(encoding="utf-8"))
    if (path := folder / "model.xgboost.json").exists():
        return xgboost_sum(path.read_text(encoding="utf-8"))
    import onnx

    graph = onnx.load_from_string((folder / "model.onnx").read_bytes()).graph
    operators = {node.op_type for node in graph.node}
    is_forest = any(operator.startswith("TreeEnsemble") for operator in operators)
    return onnx_forest_sum(graph) if is_forest else onnx_linear_sum(graph)
