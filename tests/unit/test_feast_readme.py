"""The README of `feast_postgres` says what the code does, and is part of the package."""

from __future__ import annotations

from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import feast_postgres
from feast_postgres import casts, serialized_casts, unsupported

PACKAGE = Path(feast_postgres.__file__).parent
README = (PACKAGE / "README.md").read_text(encoding="utf-8")
NAMES = {
    "bool": "boolean",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
}


def test_the_readme_is_in_the_wheel() -> None:
    builder = WheelBuilder(str(PACKAGE.parents[1]))
    included = [file.distribution_path for file in builder.recurse_included_files()]
    assert "feast_postgres/README.md" in included


@pytest.mark.parametrize("name", sorted(unsupported._UNSUPPORTED_SETTINGS.keys()))
def test_each_unsupported_setting_is_answered(name: str) -> None:
    if name != "max_batched_result_rows":
        assert f"`{name}`" in README


def test_each_public_class_is_named() -> None:
    classes = [name for name in feast_postgres.__all__ if not name.endswith("Config")]
    assert [name for name in classes if f"feast_postgres.{name}" not in README] == []


def test_the_table_of_casts_is_that_of_the_code() -> None:
    rows = [row.split("|")[1:3] for row in README.splitlines() if row.startswith("| ")]
    table = {
        feature.strip().lower(): {kind.strip() for kind in kinds.split(",")}
        for features, kinds in rows
        for feature in features.split(", ")
    }
    names = {"FLOAT": "float32", "DOUBLE": "float64", "UNIX_TIMESTAMP": "unixtimestamp"}
    scalars = {**casts._SOURCE_TYPES, **serialized_casts._TEXT_TYPES}
    for value_type, kinds in scalars.items():
        feature = names.get(value_type, value_type.lower().replace("_", ""))
        assert table[feature] == {NAMES.get(kind, kind) for kind in kinds}, value_type
    for value_type, kinds in serialized_casts._LIST_TYPES.items():
        element = value_type.removesuffix("_LIST")
        feature = f"array({names.get(element, element.lower())})"
        arrays = {f"{NAMES.get(kind, kind)}[]" for kind in kinds}
        # one row may be for features of several types
        assert arrays <= table[feature], value_type
