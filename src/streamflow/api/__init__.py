"""The HTTP API: routes, problem answers, the request log, metrics.

May import: serving, keys, and what these may.
"""

__all__ = ["app", "http_protocol", "middleware", "parts", "telemetry"]
