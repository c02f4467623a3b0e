"""The hash of a table is over exactly the bytes that the module's docstring describes."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow.training import canonical, dataset_table

PACK = {"INT64": "<q", "FLOAT64": "<d", "BOOL": "<?"}
VALUES = {
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "FLOAT64": st.floats(),
    "BOOL": st.booleans(),
    "STRING": st.text(max_size=12),
}


def columns(rows: int) -> st.SearchStrategy[list[tuple[str, str, list[Any]]]]:
    def values(kind: str) -> st.SearchStrategy[tuple[str, list[Any]]]:
        nullable = st.one_of(st.none(), VALUES[kind])
        return st.tuples(st.just(kind), st.lists(nullable, min_size=rows, max_size=rows))

    kinds = st.lists(st.sampled_from(sorted(VALUES)).flatmap(values), min_size=1, max_size=4)
    return kinds.map(lambda some: [(f"c{i}", *one) for i, one in enumerate(some)])


def written(name: str, kind: str, values: list[Any]) -> bytes:
    """The bytes, value by value, as the module says."""
    parts = [f"{name}\0{kind}\0{len(values)}\0".encode()]
    for value in values:
        if value is None:
            parts.append(b"\0")
        elif kind == "STRING":
            parts.append(b"\1" + struct.pack("<q", len(value.encode())) + value.encode())
        else:
            parts.append(b"\1" + struct.pack(PACK[kind], value))
    return b"".join(parts)


@settings(deadline=None)  # the first example imports Arrow
@given(st.integers(0, 6).flatmap(columns))
def test_the_hash_is_over_each_value_in_turn(some: list[tuple[str, str, list[Any]]]) -> None:
    whole, each = canonical.hashes(canonical.table(some))
    expected = [written(*one) for one in some]
    assert whole == hashlib.sha256(b"".join(expected)).hexdigest()
    assert [one.hash for one in each] == [hashlib.sha256(one).hexdigest() for one in expected]
    assert [(one.name, one.type) for one in each] == [(name, kind) for name, kind, _ in some]


@settings(deadline=None)
@given(some=st.integers(2, 6).flatmap(columns))
def test_a_table_that_was_sliced_or_stored_has_the_same_hash(
    some: list[tuple[str, str, list[Any]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    table = canonical.table(some)
    rest = canonical.table([(name, kind, values[1:]) for name, kind, values in some])
    assert canonical.hashes(table.slice(1)) == canonical.hashes(rest)
    file = tmp_path_factory.mktemp("stored") / "table.parquet"
    dataset_table.write(table, file)
    assert canonical.hashes(dataset_table.read(file)) == canonical.hashes(table)


def test_a_stored_table_has_the_same_bytes_each_time(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    files = [tmp_path_factory.mktemp("stored") / "table.parquet" for _ in range(2)]
    for file in files:
        dataset_table.write(canonical.table([("id", "STRING", ["a", None, "ü"])]), file)
    assert files[0].read_bytes() == files[1].read_bytes()
