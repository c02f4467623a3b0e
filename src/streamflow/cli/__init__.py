"""The command line: one module per group of commands; exit codes are decided here.

May import: everything.
"""

__all__ = ["main"]
