"""Why an entity has its score: exact contributions of its features, in words.

May import: features, registry, promotion, platform, postgres, training.
"""

__all__ = ["explanation", "forms", "processes", "recorded", "sentences", "shapley", "usual"]
