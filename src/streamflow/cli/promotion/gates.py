"""What the gates say of a version, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamflow.cli.terminal import print_table

# A gate report as JSON has it.
Report = Mapping[str, Any]


def print_gates(report: Report) -> None:
    """Print a line per gate, and below what to do about those that didn't pass."""
    against = report["against"]
    beside = "no version is in Production" if against is None else f"against version {against}"
    rows = [
        [one["gate"], _outcome(one), one["message"]]  # in the order in which they are evaluated
        for one in report["gates"]
    ]
    print_table(f"gates of version {report['version']}, {beside}", ["gate", "outcome", "why"], rows)
    for one in report["gates"]:
        if one["what_to_do"] and not one["override"]:
            print(f"{one['gate']}: {one['what_to_do']}")
        if one["override"]:
            print(f"{one['gate']} is overridden: {one['override']}")


def _outcome(result: Mapping[str, Any]) -> str:
    outcome = str(result["outcome"])
    return f"{outcome}, overridden" if result["override"] else outcome
