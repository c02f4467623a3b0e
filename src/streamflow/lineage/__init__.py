"""What decided a model, as five fingerprints; a run reproduced, two runs compared.

May import: platform, features, registry, training, history, postgres, top modules.
"""

__all__ = [
    "code",
    "definitions_then",
    "diff",
    "document",
    "judged_version",
    "recorded_environment",
    "recorded_run",
    "reproduce",
    "reproduction",
    "rows",
    "sources",
]
