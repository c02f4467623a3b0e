"""What a command prints: JSON for scripts; tables, progress and errors for people."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamflow.errors import (
    DataRefused,
    FeatureStoreUnavailable,
    ModelRefused,
    NoAnswer,
    StreamFlowError,
    UnknownPrediction,
)
from streamflow.keys.operator import operator as operator
from streamflow.progress import silent

if TYPE_CHECKING:
    from rich.console import Console

    from streamflow.platform import Platform
    from streamflow.progress import Progress

OTHER = "If you meant another use case, set STREAMFLOW_USE_CASE to its module. Otherwise:"

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, for scripts.")]


@contextmanager
def open_platform(*, even_without_database: bool = False) -> Iterator[Platform]:
    """The platform of the current settings, while the block runs.

    Raises InvalidSettings, DatabaseUnavailable, and what `migrate` does.
    """
    # Imported here, so that `--help` doesn't wait for it.
    from streamflow.bootstrap import platform
    from streamflow.settings import load_settings

    settings = load_settings()
    with platform(settings, even_without_database=even_without_database) as opened:
        try:
            yield opened
        except (
            DataRefused,
            ModelRefused,
            NoAnswer,
            UnknownPrediction,
            FeatureStoreUnavailable,
        ) as error:
            if hint := forgotten_use_case(opened):
                error.message, error.next = f"{error.message} {hint}", f"{OTHER} {error.next}"
            raise


def forgotten_use_case(platform: Platform) -> str:
    """Which use case this is and which others there are, if another one may be meant: this one has
    no month, and others in the same database have. Else an empty text."""
    from streamflow.history import months

    use_case = platform.use_case
    with suppress(StreamFlowError):  # the database may be gone
        if not months.months(platform.database, use_case):
            others = months.other_use_cases(platform.database, use_case)
            if others:
                listed = ", ".join(repr(name) for name in others)
                return (
                    f"The use case {use_case.name!r} has no month; this database has months of "
                    f"{listed}."
                )
    return ""


def _console(**options: Any) -> Console:
    """A console that leaves the end of its reader to `main`, where Rich would exit by itself."""
    from rich.console import Console

    class Ours(Console):
        def on_broken_pipe(self) -> None:
            raise  # it is called while BrokenPipeError is handled

    return Ours(**options)


def print_error(code: str, message: str, next: str, as_json: bool, **facts: object) -> None:
    """Print an error and the next command to type: JSON on standard output, or text on standard
    error. `facts` are for JSON alone."""
    if as_json:
        document = {"error": code, "message": message, "next": next, **facts}
        print(json_module.dumps(document, default=json_value))
        return
    console = _console(stderr=True, highlight=False, soft_wrap=True)
    console.print("error:", style="bold red", end=" ")
    console.print(message, markup=False)
    console.print("next:", style="bold", end="  ")
    console.print(next, markup=False)


@contextmanager
def show_progress(as_json: bool, command: str) -> Iterator[Progress]:
    """A spinner with the current part of the command, on standard error; none for scripts."""
    if as_json or not sys.stderr.isatty():
        yield silent
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=_console(stderr=True), transient=True) as bar:
        task = bar.add_task(command, total=None)
        yield lambda part: bar.update(task, description=f"{command}: {part}")


def print_result(result: object, as_json: bool, print_text: Callable[[], object]) -> None:
    """Print the result as JSON, or call `print_text`, which prints it for people."""
    if as_json:
        print(json_module.dumps(without_untold(result), default=json_value))
    else:
        print_text()


def without_untold(document: Any) -> Any:
    """The document with null for the bounds of each AUC that can't be told; they are 0 and 1, as
    metrics are numbers. A bound may be a tuple of those of several runs."""
    if isinstance(document, list | tuple):
        return [without_untold(one) for one in document]
    if not isinstance(document, dict):
        return document
    shown = {name: without_untold(value) for name, value in document.items()}
    for name in document:
        low, high = name, f"{str(name).removesuffix('auc_low')}auc_high"
        if not str(name).endswith("auc_low") or high not in document:
            continue
        if isinstance(shown[low], list):
            pairs = list(zip(shown[low], shown[high], strict=True))
            told = [(None, None) if one == (0, 1) else one for one in pairs]
            shown[low], shown[high] = [list(bounds) for bounds in zip(*told, strict=True)]
        elif (shown[low], shown[high]) == (0, 1):
            shown[low] = shown[high] = None
    return shown


def json_value(value: object) -> str:
    """The text for a value that JSON has no type for: dates and times in ISO 8601."""
    return value.isoformat() if isinstance(value, date) else str(value)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; columns of numbers are aligned to the right. In a narrow terminal, columns of
    numbers and of times, whose name ends in (UTC), stay on one line."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int | float) for row in rows)
        table.add_column(
            column,
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=numeric or column.endswith("(UTC)"),
        )
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    _console(highlight=False).print(table)
