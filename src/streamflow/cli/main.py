"""The command line as a whole: its groups of commands, its errors and exit codes.

0 done · 1 an error that says what to do · 2 wrong usage · 3 stopped by a gate · 4 an alarm was
raised · 130 interrupted · 141 the reader of the output has gone, as in `streamflow … | head` ·
`run-month --skip-code` names one for files that aren't there yet. A command imports what it needs
when it is called, so that `--help` is fast.
"""

from __future__ import annotations

import os
import select
import sys
import warnings
from contextlib import suppress
from io import TextIOWrapper

import typer

from streamflow import log, private_files
from streamflow.cli import (
    data,
    database,
    evaluate,
    explain,
    ingest,
    keys,
    lineage,
    predict,
    servers,
    train,
)
from streamflow.cli.command import Command
from streamflow.cli.failure import exit_code, print_failure
from streamflow.cli.month import (
    campaign,
    export,
    forget,
    monitor,
    reasons,
    report,
    run_month,
    score,
)
from streamflow.cli.promotion import compare, history, models, promote
from streamflow.cli.terminal import print_error
from streamflow.cli.use_case import init

app = typer.Typer(
    name="streamflow",
    help="Monthly tables in, a served prediction out that can be traced, trusted and re-created.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for group in (
    *(init, data, ingest, train, evaluate, models, promote, compare, history, lineage, servers),
    *(predict, explain, keys, database, run_month, monitor, reasons, report, forget, score),
    *(export, campaign),
):
    for command in group.app.registered_commands:
        command.cls = Command
    app.add_typer(group.app)


def main() -> None:
    """Run the command line and exit; with `--json`, errors too are JSON on standard output."""
    arguments = sys.argv[1:]
    _keep_warnings_from_failing()
    log.write_plain()
    private_files.keep_private()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal may lack a character that is printed
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments, "--json" in arguments)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # of standard error
        code = 141
    if code == 141:
        _print_nowhere()
    sys.exit(code)


def _keep_warnings_from_failing() -> None:
    """Libraries' warnings are for developers (`python -W default`), and never an error: where
    PYTHONWARNINGS makes them one, they are shown, in child processes too."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        return
    shown = [
        "default" + option.removeprefix("error") if option.startswith("error") else option
        for option in sys.warnoptions
    ]
    if shown != sys.warnoptions:
        warnings.simplefilter("default")
        sys.warnoptions[:] = shown
        os.environ["PYTHONWARNINGS"] = ",".join(shown)


def _run(arguments: list[str], as_json: bool) -> int:
    try:
        code = _exit_code(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except typer.TyperException as error:
        message = " ".join(error.format_message().replace("Value error, ", "").split())
        if not message:  # the help was printed instead
            return 2
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "streamflow"
        print_error("usage", message, f"See `{command} --help`.", as_json)
        return 2
    except typer.Abort:
        return 130
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_has_gone():
            return 141
        print_failure(error, as_json)
        return exit_code(error)


def _exit_code(arguments: list[str]) -> int:
    """Run a command. Typer's own way to do that ends at any broken pipe, without a word."""
    program = typer.main.get_command(app)
    try:
        with program.make_context("streamflow", arguments) as context:
            program.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    return 0


def _reader_has_gone() -> bool:
    """Whether nobody reads standard output any more; a pipe to a server breaks too."""
    with suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    return False


def _print_nowhere() -> None:
    """Send what is still to be printed nowhere, so that the interpreter's exit can flush it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere, stream.fileno())
