"""The gates to Production: facts in, passed, failed or can't tell out. Pure, without I/O.

May import: training, use_case, errors.
"""

from streamflow.promotion.gates.acceptance import check_gates, require_passed

__all__ = [
    "acceptance",
    "approval",
    "calibration",
    "check_gates",
    "judged_pair",
    "judging_rows",
    "latency",
    "pair_quality",
    "quality",
    "recreated",
    "require_passed",
    "result",
    "segment_comparison",
    "segments",
    "servable",
    "stability",
]
