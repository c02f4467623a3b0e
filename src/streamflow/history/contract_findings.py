"""What is wrong with a use case's tables: their contracts, its key and its label in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from streamflow.history.column_findings import MOST_NAME_BYTES, as_name, column_findings, null_of
from streamflow.history.column_findings import RESERVED_COLUMNS as RESERVED_COLUMNS
from streamflow.history.column_findings import contract_types as contract_types
from streamflow.history.events.event_findings import event_findings
from streamflow.use_case import Absent, Label, Table, UseCase
from streamflow.use_case.findings import Finding, raised, require_none
from streamflow.use_case.gates import gates_findings
from streamflow.use_case.module import nearest
from streamflow.use_case.value import value_findings

# `staging_` and `_history` are put to a table's name.
MOST_TABLE_BYTES = MOST_NAME_BYTES - len("_history")

# Of numbers with fractions and of dates, nearly each entity has its own.
SEGMENT_TYPES = ("string", "boolean", "Int64")


def contract_findings(use_case: UseCase) -> tuple[list[Finding], tuple[Table, ...]]:
    """What is wrong with the use case's tables, and the tables.

    There are none if one can't be read: what would be said of the others may be due to that.
    """
    try:
        given = tuple(use_case.tables())
    except Exception as error:
        return [raised("tables", error, "a function that returns Table(…), Table(…)")], ()
    findings: list[Finding] = []
    readable: list[Table] = []
    for table in given:
        broken = _unreadable(table)
        if broken is not None:
            findings.append(broken)
            continue
        readable.append(table)
    for table in readable:
        findings += _name_findings(table, [one.name for one in readable])
        findings += event_findings(table, use_case.join_key)
        findings += column_findings(table, use_case.join_key)
        if table.events is not None and table.name in (use_case.entity_table, use_case.label.table):
            findings.append(
                Finding(
                    f"table {table.name!r}",
                    "the table of entities, and that of labels, has a row per entity, not events",
                    f'Table("{table.name}_of_month", …, events=Events(…))',
                )
            )
    if len(readable) < len(given):
        return findings, ()
    tables = {table.name: table for table in readable}
    return [
        *findings,
        *_entity_table_findings(use_case, tables),
        *_label_findings(use_case, tables),
        *_segment_findings(use_case, tables),
        *_value_findings(use_case, tables),
    ], tuple(readable)


def require_contracts(use_case: UseCase) -> None:
    """Raises UseCaseRefused if something is wrong with the use case's tables."""
    require_none(use_case.name, contract_findings(use_case)[0])


def _unreadable(table: object) -> Finding | None:
    from pandera.pandas import DataFrameSchema

    if not isinstance(table, Table):
        return Finding("tables", f"{table!r:.80} isn't a Table", 'Table("…", DataFrameSchema({…}))')
    where = f"table {table.name!r}"
    if not isinstance(table.name, str):
        return Finding(where, "its name isn't text", f'Table("{table.name}", …)')
    if isinstance(table.contract, DataFrameSchema):
        return None
    contract = table.contract
    if isinstance(contract, type) and hasattr(contract, "to_schema"):
        said, instead = "a model's class", f"{contract.__name__}.to_schema()"
    else:
        said, instead = type(contract).__name__, "DataFrameSchema({…})"
    return Finding(
        where,
        f"its contract is {said}, not a DataFrameSchema of pandera.pandas",
        f'Table("{table.name}", {instead})',
    )


def _name_findings(table: Table, names: Sequence[str]) -> Iterator[Finding]:
    where, name = f"table {table.name!r}", table.name
    # Feast writes the name without quotes, so PostgreSQL reads capitals as small letters.
    if not re.fullmatch(r"[^\W\d]\w*", name) or re.search("[A-Z]", name):
        yield Finding(
            where,
            "its name isn't a name in SQL: small letters, digits and underscores, no digit first",
            f'Table("{as_name(name)[:MOST_TABLE_BYTES]}", …)',
        )
    elif len(name.encode()) > MOST_TABLE_BYTES:
        yield Finding(
            where,
            f"its name is longer than {MOST_TABLE_BYTES} bytes",
            f'Table("{name.encode()[:MOST_TABLE_BYTES].decode(errors="ignore")}", …)',
        )
    if not isinstance(table.file, str) or "/" in table.file or "\\" in table.file:
        yield Finding(
            where,
            f"file={table.file!r} isn't the name of a file in a month's folder, without its ending",
            f'Table("{name}", …, file="{as_name(table.file)}")',
        )
    if table.absent not in get_args(Absent):
        rule = nearest(table.absent, get_args(Absent))
        yield Finding(
            where, f"absent={table.absent!r} isn't a rule", f'Table("{name}", …, absent="{rule}")'
        )
    if names.count(name) > 1:
        yield Finding(
            where,
            f"{names.count(name)} tables have this name",
            f'Table("{name}_2", …) for one of them',
        )


def _entity_table_findings(use_case: UseCase, tables: Mapping[str, Table]) -> Iterator[Finding]:
    name = use_case.entity_table
    if name not in tables:
        yield Finding(
            "entity_table",
            f"there is no table {name!r}",
            f'entity_table="{nearest(name, tables)}"',
        )
    elif tables[name].arrives_later:
        yield Finding(
            f"table {name!r}",
            "it is the entity table, without which no other can be checked, and may arrive later",
            f'Table("{name}", …) without arrives_later',
        )


def _label_findings(use_case: UseCase, tables: Mapping[str, Table]) -> Iterator[Finding]:
    label = use_case.label
    if not isinstance(label, Label):
        return
    if label.table not in tables:
        yield Finding(
            "label",
            f"there is no table {label.table!r}",
            f'Label(table="{nearest(label.table, tables)}", column="{label.column}")',
        )
        return
    table = tables[label.table]
    types = contract_types(table)
    if label.column not in types or label.column == use_case.join_key:
        flags = [name for name, kind in types.items() if kind == "boolean"]
        said = "is the key" if label.column in types else "isn't a column of its table"
        yield Finding(
            "label",
            f"{label.column!r} {said}",
            f'Label(table="{label.table}", column="{nearest(label.column, flags)}")',
        )
    elif not table.contract.columns[label.column].required:
        yield Finding(
            f"table {label.table!r}, column {label.column!r}",
            "a file of labels without the label says nothing",
            f'Table("{label.table}", …, arrives_later=True), and the column without required=False',
        )
    else:
        yield from _rule_findings(label, table, types[label.column])


_VALUES_OF: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "Int64": int,
    "Float64": (int, float),
}


def _rule_findings(label: Label, table: Table, kind: str) -> Iterator[Finding]:
    """Of which values of the label's column mean yes."""
    where = f"table {table.name!r}, column {label.column!r}"
    column, start = table.contract.columns[label.column], f'Label("{label.table}", "{label.column}"'
    if label.positive is None:
        if label.negative is not None:
            yield Finding("label", "it says what means no alone", f"{start}, …, positive=…)")
        if kind != "boolean":
            rule = "positive={…}" if kind == "string" else 'positive=">= …"'
            yield Finding(
                where,
                f"the label has the type {kind}; what is learnt is true or false, "
                "so the files say which, or the label does",
                f'"{label.column}": Column("boolean"{null_of(column)}); or {start}, {rule})',
            )
        return
    if label.comparison is not None and kind not in ("Int64", "Float64"):
        said = f"{label.positive!r} compares numbers, and the column has the type {kind}"
        yield Finding("label", said, f'{start}, positive="…")')
        return
    is_of = _VALUES_OF.get(kind)
    for value in (*label.positives, *label.negatives):
        number = isinstance(value, bool) and kind != "boolean"
        if is_of is None or number or not isinstance(value, is_of):
            said = f"{value!r} isn't a value of a column of the type {kind}"
            yield Finding("label", said, f"{start}, positive=…) with values of that type")
            return
    listed = [
        value for check in column.checks for value in check.statistics.get("allowed_values", ())
    ]
    if label.comparison or kind == "boolean" or label.negatives:
        return
    if not {*listed} - {*label.positives}:
        yield Finding(
            "label",
            f"which values of {label.column!r} mean no isn't said, so a slip of the pen would too",
            f"{start}, positive={label.positive!r}, negative={{…}}); or list all in the column's "
            "Check.isin([…])",
        )
    elif unknown := {*label.positives} - {*listed}:
        said = f"{sorted(map(str, unknown))} can't be there by the column's Check.isin"
        yield Finding("label", said, f"{start}, positive=…) with values that are listed")


def _segment_findings(use_case: UseCase, tables: Mapping[str, Table]) -> Iterator[Finding]:
    """Of the columns by which the gates look at segments."""
    if not isinstance(use_case.label, Label) or [*gates_findings(use_case.gates)]:
        return
    label = (use_case.label.table, use_case.label.column)
    usable = [
        f"{table.name}.{column}"
        for table in tables.values()
        for column, kind in contract_types(table).items()
        if kind in SEGMENT_TYPES and column != use_case.join_key and (table.name, column) != label
    ]
    for segment in use_case.gates.segments:
        if segment in usable:
            continue
        name, _, column = segment.partition(".")
        types = contract_types(tables[name]) if name in tables else {}
        if (name, column) == label:
            said = "is the label"
        elif column in types and column == use_case.join_key:
            said = "is the key, of which each entity has its own"
        elif column in types:
            said = f"has the type {types[column]}; a segment's is {', '.join(SEGMENT_TYPES)}"
        else:
            said = "isn't a column of a table"
        yield Finding(
            "gates",
            f"the segment {segment!r} {said}",
            f'Gates(segments=("{nearest(segment, usable)}",))',
        )


def _value_findings(use_case: UseCase, tables: Mapping[str, Table]) -> Iterator[Finding]:
    """Of the column that says what an entity is worth."""
    value = use_case.value
    if [*value_findings(value)] or value is None or value.column is None:
        return
    types = {
        f"{table.name}.{column}": kind
        for table in tables.values()
        for column, kind in contract_types(table).items()
    }
    numbers = [name for name, kind in types.items() if kind in ("Int64", "Float64")]
    if value.column not in numbers:
        there = value.column in types
        said = f"has the type {types[value.column]}" if there else "isn't a column of a table"
        yield Finding(
            "value",
            f"the column {value.column!r} {said}; what an entity is worth is a number",
            f'Value(column="{nearest(value.column, numbers)}")',
        )
