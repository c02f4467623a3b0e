"""The version in Staging beside the one in Production: shadow scores and the canary; no HTTP.

May import what serving may.
"""

__all__ = [
    "canary",
    "canary_bounds",
    "challenger",
    "challenger_model",
    "follower",
    "scored_rows",
    "shadow",
    "shadow_rows",
    "staging",
]
