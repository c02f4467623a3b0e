"""API keys: which there are, what each may do, an audit of what was rejected; who runs a command.

May import: postgres, top modules.
"""

__all__ = ["access", "api_keys", "audit", "errors", "key_sync", "operator"]
