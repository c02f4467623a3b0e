"""The gates to Production: facts in, passed, failed or can't tell out. Pure, without I/O.

May import: training, use_case, errors.
"""

__all__ = [
    "acceptance",
    "approval",
    "calibration",
    "judged_pair",
    "judging_rows",
    "latency",
    "pair_quality",
    "quality",
    "recreated",
    "result",
    "segment_comparison",
    "segments",
    "servable",
    "stability",
]
