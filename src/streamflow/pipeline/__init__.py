"""The steps from a month's files to predictions, one module each, as commands and tests call them.

May import: promotion, lineage, serving, and what these may.
"""

__all__ = ["apply", "explain", "ingest", "materialize", "predict", "train"]
