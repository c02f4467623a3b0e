"""A hash per row: which rows are as they were, after some were forgotten."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.lineage.rows import row_hashes
from streamflow.lineage.rows.row_hashes import NONCE_BYTES, RowHashes, holds, without
from streamflow.training import canonical

Row = tuple[str, float | None, bool]
ROWS: list[Row] = [("a", 1.0, True), ("b", None, False), ("b2", 3.0, True), ("c", -0.0, False)]


def table(rows: list[Row]) -> Any:
    ids, numbers, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return canonical.table(
        [
            ("user_id", "STRING", list(ids)),
            ("hours", "FLOAT64", list(numbers)),
            ("label", "BOOL", list(labels)),
        ]
    )


def hashed(rows: list[Row], *, with_ids: bool = False) -> RowHashes:
    randomness = Random(0).randbytes(NONCE_BYTES * len(rows))
    return row_hashes.row_hashes(table(rows), randomness, with_ids=with_ids)


@pytest.mark.parametrize(
    "changed",
    [
        [("a", 1.0, True), ("b", 0.0, False), *ROWS[2:]],  # a null that became a value
        [*ROWS[:3], ("c", 0.0, False)],
        [*ROWS[:3], ("c", -0.0, True)],
        [*ROWS[:3], ("d", -0.0, False)],
        [ROWS[1], ROWS[0], *ROWS[2:]],
        ROWS[:3],
    ],
)
def test_any_other_row_shows(changed: list[Row]) -> None:
    hashes = hashed(ROWS)
    assert holds(hashes, table(ROWS))
    assert not holds(hashes, table(changed))


@given(
    st.lists(
        st.tuples(st.text(max_size=3), st.one_of(st.none(), st.floats()), st.booleans()),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.integers(0, 11), max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_whoever_is_forgotten_leaves_the_others_as_they_were(
    rows: list[Row], places: list[int], with_table: bool, interrupted: bool
) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    hashes = after = hashed(rows, with_ids=True)
    staying, there = rows, rows
    for place in places:
        gone = rows[place % len(rows)][0]
        after = without(after, [gone], table(there) if with_table else None)
        # A command that was killed has left the rows where they were, and is run again.
        again = without(after, [gone], table(there) if with_table else None)
        assert again == after
        staying = [row for row in staying if row[0] != gone]
        there = there if interrupted else staying
    assert holds(after, table(staying))
    assert after.forgotten == len(rows) - len(staying)
    assert after.root == hashes.root
    assert after.forgotten == 0 or not holds(after, table(rows))


def test_nothing_tells_the_row_that_was_forgotten(tmp_path: Path) -> None:
    before = hashed(ROWS, with_ids=True)
    row_hashes.write(before, tmp_path / "rows.parquet")
    nonce = before.nonces[NONCE_BYTES : 2 * NONCE_BYTES]
    assert nonce in (tmp_path / "rows.parquet").read_bytes()

    row_hashes.write(without(before, ["b"], table(ROWS)), tmp_path / "rows.parquet")

    assert nonce not in (tmp_path / "rows.parquet").read_bytes()
    assert row_hashes.read(tmp_path / "rows.parquet") == without(before, ["b"], None)


def test_without_a_table_a_row_is_found_by_the_hash_of_its_id() -> None:
    hashes = hashed(ROWS, with_ids=True)
    assert without(hashes, ["b", "nobody"], None) == without(hashes, ["b"], table(ROWS))
    assert without(hashed(ROWS), ["b"], None) == hashed(ROWS)  # there are no ids to find it by
