"""The statements of `sql/queries.sql` by name."""

from __future__ import annotations

import re
from collections import Counter
from importlib import resources

from streamflow.postgres.queries import named_queries


def test_each_name_is_there_once() -> None:
    text = (resources.files("streamflow.postgres") / "sql" / "queries.sql").read_text()
    names = Counter(re.findall(r"^-- name: (\w+)$", text, flags=re.MULTILINE))
    assert [name for name, times in names.items() if times > 1] == []
    assert set(names) == set(named_queries())
