"""A hash per row of a run's tables, by which the rows are checked when some of them are forgotten.

May import what lineage may.
"""

__all__ = ["recorded_rows", "row_hashes"]
