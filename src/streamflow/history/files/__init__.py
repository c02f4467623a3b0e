"""The files of a month: which there are, and their rows in chunks, CSV and Parquet alike.

May import: history's violations, use_case, top modules.
"""

__all__ = [
    "header",
    "month_column",
    "month_file",
    "month_folder",
    "month_names",
    "month_rows",
    "plain_columns",
    "read_ahead",
]
