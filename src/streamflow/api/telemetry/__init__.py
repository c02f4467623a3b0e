"""What operators see of the API: metrics, the request log and traces.

May import: log.
"""

__all__ = ["metrics", "recorder", "tracing"]
