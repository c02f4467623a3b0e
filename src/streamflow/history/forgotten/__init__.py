"""Persons who were forgotten: known by a hash alone, so that no ingestion brings one back.

May import: history's ingestions, postgres, use_case, top modules.
"""

__all__ = ["forgotten", "salted_hash"]
