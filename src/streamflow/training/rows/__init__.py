"""The columns of a training set's rows in arrays, of which no value is a Python object by itself.

May import: top modules.
"""

__all__ = ["days", "entities"]
