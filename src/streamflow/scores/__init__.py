"""Everyone's score of a month: probability, rank, decile; the lists that are made of them.

May import: features, registry, serving, promotion, platform, postgres, and what they may.
"""

__all__ = [
    "campaigns",
    "chunks",
    "column_scoring",
    "everyone",
    "executors",
    "one_score",
    "score_lookup",
    "scorer",
    "scorings",
    "spark_scoring",
    "unfinished",
]
