"""A month of files, checked and appended with both time axes; which months there are.

May import: columnar, postgres, top modules.
"""

__all__ = [
    "append",
    "as_of",
    "column_findings",
    "columns_before",
    "contract_findings",
    "events",
    "files",
    "forgotten",
    "history_changes",
    "history_plan",
    "history_table",
    "iceberg",
    "ingest",
    "ingestions",
    "labels",
    "months",
    "parquet",
    "recorded_columns",
    "values",
    "violations",
    "withdrawals",
]
