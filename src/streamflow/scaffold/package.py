"""The files of a use case's package, as a person would have written them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamflow.scaffold.contract_code import drawn_code, table_code, text_code, value_code
from streamflow.scaffold.draft import Proposal
from streamflow.use_case.label import LabelValue

TEMPLATES = Path(__file__).with_name("templates")
# What a contract may be made of.
_IMPORTED = ("Count", "Csv", "DaysSince", "Distinct", "Events", "Mean", "Sum", "Table")
_FEAST = {"Int64": "Int64", "Float64": "Float64", "boolean": "Bool", "string": "String"}


def package_files(
    proposal: Proposal, folder: str, as_of: str, ingest: str = "", months: int = 1
) -> dict[str, str]:
    """By their names, the texts of the package's files.

    `folder` is where the month's files are and `as_of` their day, for the commands of its README;
    `ingest` is what to type after `streamflow ingest` for files of several `months`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # it is code that is written, not HTML
    )
    facts = _facts(proposal) | {
        "ingest": ingest or f"{folder} --as-of {as_of}",
        "as_of": as_of,
        "months": months,
    }
    return {
        name.removesuffix(".jinja"): environment.get_template(name).render(facts)
        for name in sorted(environment.list_templates())
    }


def _facts(proposal: Proposal) -> dict[str, object]:
    views: dict[str, dict[str, str]] = {}
    for one in proposal.features:
        views.setdefault(one.table, {})[one.name] = _FEAST[one.kind]
    generated: dict[str, Mapping[str, list[str]]] = {
        table.name: drawn_code(proposal, table) for table in proposal.tables
    }
    events = {table.name: drawn_code(proposal, table) for table in proposal.of_events}
    tables = "".join(table_code(proposal, one) for one in (*proposal.tables, *proposal.of_events))
    return {
        "name": proposal.name,
        "join_key": proposal.join_key,
        "entity_table": proposal.entity_table,
        "label_table": proposal.label_table,
        "label_column": proposal.label_column,
        "horizon_days": proposal.horizon_days,
        "positive": "" if proposal.positive[0] is True else _values(proposal.positive),
        "yes": value_code(proposal.positive[0]),
        "no": value_code(proposal.negative[0]),
        "tables": tables,
        "imported": [one for one in _IMPORTED if re.search(rf"\b{one}\(", tables)],
        "kinds": sorted({kind for columns in views.values() for kind in columns.values()}),
        "views": views,
        "left_out": [text_code(one) for one in proposal.left_out],
        "generated": generated,
        "events": events,
        "middle": _middle(proposal),
        "notes": proposal.notes,
    }


def _values(values: Sequence[LabelValue]) -> str:
    """One value, or several in brackets."""
    code = ", ".join(map(value_code, values))
    return code if len(values) == 1 else f"({code})"


def _middle(proposal: Proposal) -> float:
    """The middle of the first number's range, by which made-up labels go."""
    for table in proposal.tables:
        for column in table.profile.columns:
            ours = table.names[column.name]
            if ours == proposal.join_key or column.name == table.label:
                continue
            if column.kind == "boolean":
                return 0.5
            if column.kind in ("Int64", "Float64") and None not in (column.lowest, column.highest):
                return (float(column.lowest or 0) + float(column.highest or 0)) / 2
    return 0.5
