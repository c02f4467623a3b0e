"""Which rows and values two training sets differ by."""

from __future__ import annotations

from typing import Any

import pytest

from streamflow.lineage.compare_tables import MOST_NAMED, Change, find
from streamflow.training import canonical


def table(ids: list[str], fees: list[Any], plans: list[Any]) -> Any:
    return canonical.table(
        [("user_id", "STRING", ids), ("fee", "FLOAT64", fees), ("plan", "STRING", plans)]
    )


BEFORE = table(["ann", "bob", "cid"], [1.5, None, 0.0], ["basic", "family", None])


def test_the_same_rows_have_no_difference() -> None:
    found = find(BEFORE, BEFORE)
    assert (found.gone, found.came, found.columns) == ([], [], [])


@pytest.mark.parametrize(
    ("fees", "entity", "before", "after"),
    [
        ([2.5, None, 0.0], "ann", 1.5, 2.5),
        ([1.5000000000000002, None, 0.0], "ann", 1.5, 1.5000000000000002),
        ([1.5, 0.0, 0.0], "bob", None, 0.0),
        ([None, None, 0.0], "ann", 1.5, None),
        ([1.5, None, -0.0], "cid", 0.0, -0.0),
    ],
)
def test_a_value_is_named_to_the_last_bit(
    fees: list[Any], entity: str, before: Any, after: Any
) -> None:
    found = find(BEFORE, table(["ann", "bob", "cid"], fees, ["basic", "family", None]))
    (column,) = found.columns
    assert column.rows == 1
    assert repr(column.changes) == repr([Change(entity, "fee", before, after)])


def test_rows_are_held_against_each_other_by_entity() -> None:
    after = table(["abe", "bob", "cid"], [1.5, None, 9.0], ["basic", "solo", None])
    found = find(BEFORE, after)
    assert (found.gone, found.came) == (["ann"], ["abe"])
    assert list(found.changes) == [
        Change("cid", "fee", 0.0, 9.0),
        Change("bob", "plan", "family", "solo"),
    ]


def test_columns_that_only_one_has_arent_compared() -> None:
    assert find(BEFORE, BEFORE.drop_columns(["fee"])).columns == []
    assert find(BEFORE.drop_columns(["fee"]), BEFORE).columns == []
    ids = ["ann", "bob", "cid"]
    whole = canonical.table([("user_id", "STRING", ids), ("fee", "INT64", [1, 2, 3])])
    assert find(BEFORE, whole).columns == []


def test_of_very_many_changes_the_first_are_named_and_all_are_counted() -> None:
    ids = [f"{i:05}" for i in range(MOST_NAMED + 5)]
    (column,) = find(table(ids, [1.0] * len(ids), ids), table(ids, [2.0] * len(ids), ids)).columns
    assert (column.rows, len(column.changes)) == (MOST_NAMED + 5, MOST_NAMED)
    assert column.changes[0].entity == "00000"
