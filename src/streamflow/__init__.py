"""Monthly tables in, a served prediction out that can be traced, trusted and re-created."""

__version__ = "0.1.0"
