"""Ranges of keys: many rows are joined range by range, in memory that doesn't grow with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from feast_known.names import literal, quoted
from feast_known.view_query import ViewQuery

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Values of a range, in the rows that are joined.
_MOST_CELLS = 32_000_000
_MOST_ROWS = 1_000_000
_SAMPLED_KEYS = 20_000


@dataclass(frozen=True)
class KeyRange:
    """The rows whose `key`, as a text, is `first` or after it and before `end`, by its bytes.

    Without `first` there is no lower bound; without `end` no upper one, and null is in it.
    """

    key: str
    first: str | None = None
    end: str | None = None

    def condition(self, column: str) -> str:
        """SQL of whether the column, the key by its name in some rows, is in the range."""
        text = f"{quoted(column)}::varchar"
        bounds = []
        if self.first is not None:
            bounds.append(f"{text} >= {literal(self.first)}")
        if self.end is not None:
            bounds.append(f"{text} < {literal(self.end)}")
        condition = " AND ".join(bounds) or "true"
        return f"({condition} OR {quoted(column)} IS NULL)" if self.end is None else condition


def key_ranges(
    connection: DuckDBPyConnection, views: Sequence[ViewQuery], rows: Sequence[str]
) -> list[KeyRange]:
    """Ranges of the first key that all views have, in ascending order, so that none has too many of
    the views' `rows`, which are queries of them. None where one range will do.
    """
    shared = [key for key in views[0].keys if all(key in view.keys for view in views)]
    if not shared:
        return []
    counted = [f"(SELECT count(*) FROM ({query}) AS counted)" for query in rows]
    counts = connection.sql(f"SELECT {', '.join(counted)}").fetchall()[0]
    most = max(counts)
    columns = sum(len(view.keys) + len(view.features) for view in views)
    number = -(-most // min(_MOST_ROWS, _MOST_CELLS // columns + 1))
    if number <= 1:
        return []
    largest = rows[counts.index(most)]
    key = shared[0]
    sampled = f"SELECT {quoted(key)}::varchar FROM ({largest}) AS given USING SAMPLE"
    found = connection.sql(f"{sampled} reservoir({_SAMPLED_KEYS} ROWS)").fetchall()
    keys = sorted({text.encode() for (text,) in found if text is not None})
    bounds = sorted({keys[place * len(keys) // number] for place in range(1, number)})
    texts = [None, *(bound.decode() for bound in bounds), None]
    return [KeyRange(key, *pair) for pair in pairwise(texts)]
