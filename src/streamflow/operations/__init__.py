"""Running and keeping the whole: server processes, backup and restore, status, the demo."""
