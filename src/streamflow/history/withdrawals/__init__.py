"""What of history doesn't count any more: an ingestion is taken back, and readers leave it out.

May import: history's ingestions, postgres, use_case, top modules.
"""

__all__ = ["known_rows", "withdrawal"]
