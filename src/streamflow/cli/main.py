"""The command line as a whole: its groups of commands, its errors and exit codes.

0 done · 1 an error that says what to do · 2 wrong usage · 130 interrupted. A command imports what
it needs when it is called, so that `--help` is fast.
"""

from __future__ import annotations

import sys
import warnings

import typer

from streamflow import log
from streamflow.cli import (
    backup,
    data,
    explain,
    keys,
    lineage,
    migrate,
    models,
    predict,
    servers,
    train,
)
from streamflow.cli.terminal import print_error
from streamflow.errors import StreamFlowError

app = typer.Typer(
    name="streamflow",
    help="Monthly tables in, a served prediction out that can be traced, trusted and re-created.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for group in (data, train, models, lineage, servers, predict, explain, keys, migrate, backup):
    app.add_typer(group.app)


def main() -> None:
    """Run the command line; with `--json`, errors too are JSON on standard output."""
    as_json = "--json" in sys.argv[1:]
    if not sys.warnoptions:
        # Libraries' warnings are for developers: `python -W default`.
        warnings.simplefilter("ignore")
    log.write_plain()
    try:
        code = app(prog_name="streamflow", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except StreamFlowError as error:
        print_error(error.code, error.message, error.next, as_json)
        sys.exit(1)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "streamflow"
        print_error("usage", error.format_message(), f"See `{command} --help`.", as_json)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
