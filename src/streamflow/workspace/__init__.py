"""StreamFlow from Python and notebooks: the verbs of the command line as methods.

May import: everything but the command line.
"""

__all__ = ["arrow_table", "workspace"]
