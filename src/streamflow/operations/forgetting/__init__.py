"""A person is forgotten: gone from the tables, the features online, the runs' files and the home.

May import what operations may.
"""

__all__ = ["again", "forget", "history_files", "listed", "rows", "space", "tables"]
