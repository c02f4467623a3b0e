"""Code of a table's contract, and of values that it allows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import date

from streamflow.scaffold.draft import EventsProposal, Proposal, TableProposal
from streamflow.scaffold.profile import Column
from streamflow.use_case import Csv
from streamflow.use_case.label import LabelValue

# A text column with more values than this may well have others next month.
MOST_LISTED = 20
_WIDTH = 100
_MOMENT = "datetime64[us, UTC]"


def table_code(proposal: Proposal, table: TableProposal) -> str:
    """The `Table(…)` of the table, indented as in a tuple that a function returns."""
    lines = ["        Table(", f"            {text_code(table.name)},"]
    if table.events is not None:
        lines += [f"            {line}" for line in _events(proposal, table, table.events)]
    else:
        lines += ["            DataFrameSchema(", "                {"]
        for column in table.profile.columns:
            name = table.names[column.name]
            found = _column(proposal, table, name, column)
            lines += [f"                    {line}" for line in found]
        lines += ["                }", "            ),"]
    if proposal.arrives_later(table):
        lines.append("            arrives_later=True,")
    if (read := read_code(table.read)) != "Csv()":
        lines += _wrapped(f"            read={read},", 12)
    if table.read_columns:
        lines.append("            read_columns={")
        for name, one in table.read_columns.items():
            lines += _wrapped(f"                {text_code(name)}: {read_code(one)},", 16)
        lines.append("            },")
    if table.profile.raw.left_out:
        lines.append('            extra_columns="ignore",')
    if not table.complete and table.name not in (proposal.label_table, proposal.entity_table):
        lines.append('            absent="null",')
    if table.profile.raw.file != table.name:
        lines.append(f"            file={text_code(table.profile.raw.file)},")
    if table.profile.raw.sheet:
        lines.append(f"            sheet={text_code(table.profile.raw.sheet)},")
    if table.in_file:
        lines.append("            in_file={")
        lines += [
            f"                {text_code(ours)}: {text_code(there)},"
            for ours, there in table.in_file.items()
        ]
        lines.append("            },")
    lines.append("        ),")
    return "\n".join(lines) + "\n"


def _events(proposal: Proposal, table: TableProposal, events: EventsProposal) -> Iterator[str]:
    yield "events=Events("
    yield "    DataFrameSchema("
    yield "        {"
    for column in table.profile.columns:
        name = table.names[column.name]
        kind = _MOMENT if column.name in events.times else column.kind
        kind = "string" if name == proposal.join_key else kind
        nullable = ", nullable=True" if column.nulls else ""
        yield f'            {text_code(name)}: Column("{kind}"{nullable}),'
    yield "        }"
    yield "    ),"
    yield f"    entity={text_code(proposal.join_key)},"
    yield f"    time={text_code(table.names[events.time])},"
    yield "    aggregations={"
    for name, one in events.aggregations.items():
        values = (getattr(one, field.name) for field in fields(one))
        shown = [
            text_code(value) if isinstance(value, str) else f"days={value}" for value in values
        ]
        yield f"        {text_code(name)}: {type(one).__name__}({', '.join(shown)}),"
    yield "    },"
    if events.without_offset:
        yield '    without_offset="UTC",'
    yield "),"


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
        check = f", Check.isin([{', '.join(map(text_code, column.categories))}])"
    line = f'{text_code(name)}: Column("{column.kind}"{check}{nullable}),'
    yield from _wrapped(line, 0, _WIDTH - 20)


def _never_negative(column: Column) -> bool:
    return column.lowest is not None and float(column.lowest) >= 0


def read_code(read: Csv) -> str:
    """The `Csv(…)` of how files are written."""
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
            parts.append(f"{field.name}=({', '.join(map(text_code, value))}{comma})")
        else:
            parts.append(f"{field.name}={text_code(value)}")
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
    """By column, but for the key and the label, the lines that draw a value in a dictionary.

    Of an event, moments are those of a `day`.
    """
    times = table.events.times if table.events is not None else ()
    return {
        table.names[column.name]: _wrapped(
            f"{text_code(table.names[column.name])}: "
            + ('f"{day}T12:00:00Z",' if column.name in times else f"{_drawn(column)},"),
            0,
            _WIDTH - 12,
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
        value = f"draw.choice([{', '.join(map(text_code, shown))}])"
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
    return text_code(value) if isinstance(value, str) else repr(value)


def text_code(value: str) -> str:
    """A text as a literal in Python."""
    return json.dumps(value, ensure_ascii=False)
