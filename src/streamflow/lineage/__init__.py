"""Five fingerprints of what decides a model; reproducing a run, comparing two runs.

May import: features, training, registry, history, postgres and the top modules.
"""

__all__ = ["code", "diff", "document", "recorded_environment", "recorded_run", "reproduce"]
