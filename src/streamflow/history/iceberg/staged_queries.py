"""Which named queries of an ingestion DuckDB runs, where it stages a month's files."""

from __future__ import annotations

import re

# Those that return rows of staged files or of history, and write nothing.
STAGED_READS = frozenset(
    {
        *("count_staging", "duplicate_keys", "unknown_keys", "refused_ids", "similar_entities"),
        *("similar_ids", "count_dates_after", "dates_after", "months_with_same_rows"),
        *("month_exists", "recorded_before", "count_only_in_history", "count_new_entities"),
        *("count_staged_labels", "count_without_row", "count_nulls", "count_added"),
        *("count_beyond_float", "history_of_entity", "frequent_values"),
    }
)
# Those that make tables of DuckDB, which are dropped at the end of the transaction.
STAGED_WRITES = frozenset({"create_staging", "create_latest", "create_gone", "create_nothing_gone"})
# Those whose rows go to tables of PostgreSQL, with the COPY that takes them.
COPIED = {"add_absences": "copy_absences", "record_departed": "copy_departed"}
# Those that there is nothing to do for.
UNNEEDED = frozenset(
    {
        *("analyze_staging", "analyze_history", "analyze_month", "create_month"),
        *("enlarge_memory", "begin_appending"),
    }
)

# Of these, values are regular expressions as Python and PostgreSQL write them.
_WITH_PATTERNS = frozenset({"refused_ids", "similar_entities", "similar_ids"})
_CODE_POINT = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")


def values_for_duckdb(name: str, values: dict[str, object]) -> dict[str, object]:
    """The query's values, with regular expressions as RE2 writes them."""
    if name not in _WITH_PATTERNS:
        return values
    return {key: _pattern(one) if isinstance(one, str) else one for key, one in values.items()}


def _pattern(text: str) -> str:
    return _CODE_POINT.sub(lambda found: rf"\x{{{found[1] or found[2]}}}", text)
