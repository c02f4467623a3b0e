"""A use case from the files of a month: what each column is, and the package that says so.

May import: history, use_case, errors, progress.
"""

__all__ = [
    "draft",
    "key_and_label",
    "month_changes",
    "names",
    "package",
    "profile",
    "proposal",
    "raw_tables",
    "several_months",
    "written",
]
