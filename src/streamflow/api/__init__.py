"""The HTTP API: routes, problem documents, request limits, metrics and the request log.

May import: serving, keys, registry, training's served form.
"""

__all__ = ["app", "http_protocol", "middleware", "parts", "telemetry"]
