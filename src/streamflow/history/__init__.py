"""A month's files, checked and appended to history with both times; the months in history.

May import: postgres, top modules.
"""

__all__ = ["as_of", "ingest", "ingestions", "months"]
