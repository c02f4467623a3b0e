"""Code of a table's contract, and of values that it allows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import date

from streamflow.scaffold.draft import Proposal, TableProposal
from streamflow.scaffold.profile import Column
from streamflow.use_case import Csv
from streamflow.use_case.label import LabelValue

# A text column with more values than this may well have others next month.
MOST_LISTED = 20
_WIDTH = 100


def table_code(proposal: Proposal, table: TableProposal) -> str:
    """The `Table(…)` of the table, indented as in a tuple that a function returns."""
    lines = ["        Table(", f"            {_text(table.name)},", "            DataFrameSchema("]
    lines.append("                {")
    for column in table.profile.columns:
        name = table.names[column.name]
        lines += [f"                    {line}" for line in _column(proposal, table, name, column)]
    lines += ["                }", "            ),"]
    if proposal.arrives_later(table):
        lines.append("            arrives_later=True,")
    if (read := _read(table.read)) != "Csv()":
        lines += _wrapped(f"            read={read},", 12)
    if table.read_columns:
        lines.append("            read_columns={")
        for name, one in table.read_columns.items():
            lines += _wrapped(f"                {_text(name)}: {_read(one)},", 16)
        lines.append("            },")
    if table.profile.raw.left_out:
        lines.append('            extra_columns="ignore",')
    if not table.complete and table.name not in (proposal.label_table, proposal.entity_table):
        lines.append('            absent="null",')
    if table.profile.raw.file != table.name:
        lines.append(f"            file={_text(table.profile.raw.file)},")
    if table.profile.raw.sheet:
        lines.append(f"            sheet={_text(table.profile.raw.sheet)},")
    if table.in_file:
        lines.append("            in_file={")
        lines += [
            f"                {_text(ours)}: {_text(there)},"
            for ours, there in table.in_file.items()
        ]
        lines.append("            },")
    lines.append("        ),")
    return "\n".join(lines) + "\n"


def _column(proposal: Proposal, table: TableProposal, name: str, column: Column) -> Iterator[str]:
    if column.evidence:
        yield f"# {column.evidence[: _WIDTH - 24]}"
    if name == proposal.join_key:
        yield f'"{name}": Column("string", Check.str_length(1, 100), unique=True),'
        return
    nullable = ", nullable=True" if column.nulls else ""
    check = ""
    if column.name == table.label and column.kind != "boolean":
        values = (*proposal.negative, *proposal.positive)
        check = f", Check.isin([{', '.join(map(value_code, values))}])"
    elif column.kind in ("Int64", "Float64") and _never_negative(column):
        check = ", Check.ge(0)"
    elif column.kind == "string" and 0 < len(column.categories) <= MOST_LISTED:
        check = f", Check.isin([{', '.join(map(_text, column.categories))}])"
    line = f'{_text(name)}: Column("{column.kind}"{check}{nullable}),'
    yield from _wrapped(line, 0, _WIDTH - 20)


def _never_negative(column: Column) -> bool:
    return column.lowest is not None and float(column.lowest) >= 0


def _read(read: Csv) -> str:
    plain = Csv()
    parts = []
    for field in fields(Csv):
        value = getattr(read, field.name)
        if value == getattr(plain, field.name):
            continue
        if isinstance(value, int):
            parts.append(f"{field.name}={value}")
        elif isinstance(value, tuple):
            comma = "," if len(value) == 1 else ""
            parts.append(f"{field.name}=({', '.join(map(_text, value))}{comma})")
        else:
            parts.append(f"{field.name}={_text(value)}")
    return f"Csv({', '.join(parts)})"


def _wrapped(line: str, indent: int, width: int = _WIDTH) -> list[str]:
    """The line, with what is in its outer brackets on lines of their own if it's too long."""
    if len(line) <= width or "(" not in line:
        return [line]
    before, _, rest = line.partition("(")
    inside, _, after = rest.rpartition(")")
    space = " " * (indent + 4)
    parts, depth, part, quoted = [], 0, "", False
    for place, sign in enumerate(inside):
        if sign == '"' and (place == 0 or inside[place - 1] != "\\"):
            quoted = not quoted
        if not quoted:
            depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0 and not quoted:
            parts.append(part.strip())
            part = ""
        else:
            part += sign
    parts.append(part.strip())
    return [f"{before}(", *(f"{space}{one}," for one in parts if one), f"{' ' * indent}){after}"]


def drawn_code(proposal: Proposal, table: TableProposal) -> dict[str, list[str]]:
    """By column, but for the key and the label, the lines that draw a value in a dictionary."""
    return {
        table.names[column.name]: _wrapped(
            f"{_text(table.names[column.name])}: {_drawn(column)},", 0, _WIDTH - 12
        )
        for column in table.profile.columns
        if table.names[column.name] != proposal.join_key and column.name != table.label
    }


def _drawn(column: Column) -> str:
    """The expression that draws a value as the column has them."""
    if column.kind == "boolean":
        value = "draw.random() < 0.5"
    elif column.kind == "string":
        shown = column.categories[:MOST_LISTED] or ("text",)
        value = f"draw.choice([{', '.join(map(_text, shown))}])"
    elif column.lowest is None or column.highest is None:
        value = "None"
    elif column.kind == "date":
        bounds = [date.fromisoformat(one).toordinal() for one in (column.lowest, column.highest)]
        value = f"date.fromordinal(draw.randint({bounds[0]}, {bounds[1]}))"
    elif column.kind == "Int64":
        value = f"draw.randint({column.lowest}, {column.highest})"
    else:
        value = f"draw.uniform({float(column.lowest)!r}, {float(column.highest)!r})"
    share = column.nulls / column.rows if column.rows else 0
    return f"None if draw.random() < {share:.3f} else {value}" if share else value


def value_code(value: LabelValue) -> str:
    """A label's value as a literal in Python."""
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value: str) -> str:
    """The text as a literal in Python."""
    return json.dumps(value, ensure_ascii=False)
