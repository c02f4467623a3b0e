"""Month folders of the churn use case with something wrong in them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr
from tests.conftest import OwnDatabase, url_of

from streamflow.bootstrap import platform
from streamflow.platform import Platform

Rows = list[dict[str, str]]
Tables = dict[str, Rows]
Change = Callable[[Tables], None]


@contextmanager
def platform_of_a_copy(ready: Platform, own_database: OwnDatabase) -> Iterator[Platform]:
    """The same home with a copy of the database, which is dropped after the block."""
    with own_database(url_of(ready.settings)) as url:
        settings = ready.settings.model_copy(update={"database_url": SecretStr(url)})
        with platform(settings) as opened:
            yield opened


def tables_of(folder: Path) -> Tables:
    """The rows of each file of a month."""
    tables: Tables = {}
    for file in sorted(folder.iterdir()):
        with file.open(newline="") as lines:
            tables[file.stem] = list(csv.DictReader(lines))
    return tables


def write_changed(source: Path, folder: Path, change: Change) -> None:
    """Write the month's files into `folder`, changed; a table without rows has no file."""
    tables = tables_of(source)
    change(tables)
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        if rows:
            with (folder / f"{name}.csv").open("w", newline="") as lines:
                writer = csv.DictWriter(lines, [*rows[0]])
                writer.writeheader()
                writer.writerows(rows)


def unchanged(tables: Tables) -> None:
    pass


def in_table(table: str, column: str, value: Callable[[int, str], str]) -> Change:
    """Each value of the column becomes what `value` makes of its row's number and the value."""

    def change(tables: Tables) -> None:
        for number, row in enumerate(tables[table]):
            row[column] = value(number, row[column])

    return change


def renamed(to: str) -> Change:
    """Fiber optic has another name."""
    return in_table(
        "subscriptions", "net_service", lambda _, text: to if text == "Fiber optic" else text
    )


def five_percent_missing(tables: Tables) -> None:
    tables["usage_agg_30d"] = [row for n, row in enumerate(tables["usage_agg_30d"]) if n % 20]


def flipped_for_a_segment(tables: Tables) -> None:
    segment = {
        row["user_id"]
        for row in tables["subscriptions"]
        if row["contract_type"] == "Month-to-month"
    }
    for row in tables["labels"]:
        if row["user_id"] in segment:
            row["churn_label"] = "False" if row["churn_label"] == "True" else "True"


def without_labels(tables: Tables) -> None:
    tables["labels"] = []


def usage_of(folder: Path) -> Change:
    """The usage is that of another month, of those who were there."""
    there = {row["user_id"]: row for row in tables_of(folder)["usage_agg_30d"]}

    def change(tables: Tables) -> None:
        tables["usage_agg_30d"] = [
            there[row["user_id"]] for row in tables["usage_agg_30d"] if row["user_id"] in there
        ]

    return change


# By name: the change, and the rule and the column, table or segment that name it.
FAULTS: dict[str, tuple[Change, tuple[str, str]]] = {
    "a feature scaled by 1.1": (
        in_table("usage_agg_30d", "watch_hours_30d", lambda _, text: f"{float(text) * 1.1:.4f}"),
        ("scale", "watch_hours_30d"),
    ),
    "minutes for hours, of a tenth": (
        in_table(
            "support_agg_90d",
            "ticket_avg_resolution_hrs_90d",
            lambda number, text: f"{float(text) * 60:.1f}" if number % 10 == 0 else text,
        ),
        ("unit", "ticket_avg_resolution_hrs_90d"),
    ),
    "a column wholly null": (
        in_table("subscriptions", "plan_stream_tv", lambda _, text: ""),
        ("missing", "plan_stream_tv"),
    ),
    "a category renamed": (renamed("DSL"), ("categories", "net_service")),
    "labels flipped for a segment": (
        flipped_for_a_segment,
        ("quality", "users with contract_type 'Month-to-month'"),
    ),
    "5 % of the rows missing": (five_percent_missing, ("missing rows", "usage_agg_30d")),
}
