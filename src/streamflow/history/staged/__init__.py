"""Rules over all rows of a month's staged files: their keys, and whether they are another month's.

May import: the rest of history, postgres, use_case, top modules.
"""

__all__ = ["another_month", "keys"]
