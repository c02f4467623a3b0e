"""Where the rows of history are: moved to files of Apache Iceberg, in few files there, and in
backups.

May import what operations may.
"""

__all__ = ["backed_up", "compact_history", "move_history"]
