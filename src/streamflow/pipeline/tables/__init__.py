"""What is known, as Arrow tables and files for people who work in Python or elsewhere.

May import: what pipeline may.
"""

__all__ = ["entity_history", "scores", "table_file", "training_set"]
