"""The HTTP API: routes, problem answers, keys, metrics and the request log."""
