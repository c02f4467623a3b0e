"""Moving a version to a stage: the gates, who does it, the history of it.

May import: lineage, serving, keys, and what lineage may.
"""

__all__ = [
    "admission",
    "approve",
    "canary",
    "change",
    "check_version",
    "compare",
    "errors",
    "events",
    "gates",
    "history",
    "kept_versions",
    "lookup",
    "model_history",
    "overrides",
    "promote",
    "promoter",
    "prunable",
    "rival",
]
