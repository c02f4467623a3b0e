"""Running and keeping the whole: server processes, backup, restore, status, the demo.

May import: bootstrap, api, pipeline, and what these may.
"""

__all__ = [
    "api_server",
    "backup",
    "backup_archive",
    "backup_manifest",
    "demo",
    "first_model",
    "forgetting",
    "history_files",
    "processes",
    "prune",
    "restore",
    "running_servers",
    "servers",
    "status",
]
