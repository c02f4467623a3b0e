"""The routes, one module per tag of the OpenAPI document.

May import: api.
"""

__all__ = ["operations", "predictions", "scores"]
