"""Older definitions of feature views, kept for the models that read them: views, rows, their end.

May import what features may.
"""

__all__ = ["pruning", "rows", "views"]
