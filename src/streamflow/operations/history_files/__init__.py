"""Where the rows of history are: moved to files of Apache Iceberg, and in few files there.

May import what operations may.
"""

__all__ = ["compact_history", "move_history"]
