"""Move a version to a stage: the gates, the promoter's name, the recorded history.

May import: lineage, registry, serving, keys, postgres and the top modules.
"""

__all__ = ["promote", "promoter"]
