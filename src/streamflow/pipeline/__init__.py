"""The steps of the story, one module each; the command line shows what they return.

May import: promotion, lineage, serving, and what these may.
"""

__all__ = [
    "apply",
    "backtest",
    "check",
    "evaluate",
    "explain",
    "id_file",
    "ingest",
    "materialize",
    "month",
    "predict",
    "prediction_file",
    "replay",
    "step_lock",
    "tables",
    "train",
    "withdraw",
]
