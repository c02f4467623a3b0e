"""A person is forgotten: gone from the tables, the features online, the runs' files and the home.

May import what operations may.
"""

__all__ = ["again", "forget", "listed", "rows", "space", "tables"]
