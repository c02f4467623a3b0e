"""What a command shows: JSON for scripts; tables, progress and errors for eyes."""

from __future__ import annotations

import getpass
import json as json_module
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from streamflow.platform import Platform

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, for scripts.")]


@contextmanager
def opened(*, even_without_database: bool = False) -> Iterator[Platform]:
    """The platform of the settings at hand, imported only now, so that `--help` needn't wait."""
    from streamflow.bootstrap import platform
    from streamflow.settings import load_settings

    with platform(load_settings(), even_without_database=even_without_database) as ready:
        yield ready


def operator() -> str:
    """The operating system's name of whoever runs this, for what is written down for good.

    It's the account's, and not what the environment says, which anybody may set.
    """
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user needn't have a name
        return f"uid {os.getuid()}"
    except ImportError:
        return getpass.getuser()


def tell_error(code: str, message: str, next: str, as_json: bool) -> None:
    if as_json:
        print(json_module.dumps({"error": code, "message": message, "next": next}))
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("error:", style="bold red", end=" ")
    console.print(message, markup=False)
    console.print("next:", style="bold", end="  ")
    console.print(next, markup=False)


@contextmanager
def progress(as_json: bool, what: str) -> Iterator[Callable[[str], None]]:
    """A spinner with the step under way, on standard error and only for eyes."""
    if as_json or not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda step: shown.update(task, description=f"{what}: {step}")


def show(answer: Any, as_json: bool, lines: Callable[[], None]) -> None:
    if as_json:
        print(json_module.dumps(answer, default=plain))
    else:
        lines()


def plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else str(value)


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int | float) for row in rows)
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    Console(highlight=False).print(drawn)
