"""Which rows and values two training sets differ by."""

from __future__ import annotations

from typing import Any

import pytest

from streamflow.lineage.compare_tables import MAX_CHANGES, Change, table_difference
from streamflow.training import canonical


def table(ids: list[str], fees: list[Any], plans: list[Any]) -> Any:
    return canonical.table(
        [("user_id", "STRING", ids), ("fee", "FLOAT64", fees), ("plan", "STRING", plans)]
    )


BEFORE = table(["ann", "bob", "cid"], [1.5, None, 0.0], ["basic", "family", None])


def test_the_same_rows_have_no_difference() -> None:
    found = table_difference(BEFORE, BEFORE)
    assert (found.removed, found.added, found.columns) == ([], [], [])


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
    found = table_difference(BEFORE, table(["ann", "bob", "cid"], fees, ["basic", "family", None]))
    (column,) = found.columns
    assert column.rows == 1
    assert repr(column.changes) == repr([Change(entity, "fee", before, after)])


def test_rows_are_held_against_each_other_by_entity() -> None:
    after = table(["abe", "bob", "cid"], [1.5, None, 9.0], ["basic", "solo", None])
    found = table_difference(BEFORE, after)
    assert (found.removed, found.added) == (["ann"], ["abe"])
    assert list(found.changes) == [
        Change("cid", "fee", 0.0, 9.0),
        Change("bob", "plan", "family", "solo"),
    ]


def test_columns_that_only_one_has_arent_compared() -> None:
    assert table_difference(BEFORE, BEFORE.drop_columns(["fee"])).columns == []
    assert table_difference(BEFORE.drop_columns(["fee"]), BEFORE).columns == []
    ids = ["ann", "bob", "cid"]
    whole = canonical.table([("user_id", "STRING", ids), ("fee", "INT64", [1, 2, 3])])
    assert table_difference(BEFORE, whole).columns == []


def test_of_very_many_changes_the_first_are_named_and_all_are_counted() -> None:
    ids = [f"{i:05}" for i in range(MAX_CHANGES + 5)]
    (column,) = table_difference(
        table(ids, [1.0] * len(ids), ids), table(ids, [2.0] * len(ids), ids)
    ).columns
    assert (column.rows, len(column.changes)) == (MAX_CHANGES + 5, MAX_CHANGES)
    assert column.changes[0].entity == "00000"
