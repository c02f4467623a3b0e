"""The last net: whatever error is left becomes a line that says what happened and what to do.

A traceback is for whoever mends the program: it goes to a file, never to the terminal.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import typer

from streamflow.cli import failure_details
from streamflow.cli.promotion.gates import print_gates
from streamflow.cli.terminal import print_error
from streamflow.errors import StreamFlowError
from streamflow.promotion.errors import GateFailed

SHOWN_CHARACTERS = 200


def exit_code(error: Exception) -> int:
    """The exit code of an error: 3 if a gate keeps a version from Production, else 1."""
    return 3 if isinstance(error, GateFailed) else 1


def print_failure(error: Exception, as_json: bool) -> None:
    """Print an error of any kind; one that nothing foresaw with the file that has its details."""
    if isinstance(error, GateFailed):
        if not as_json:
            print_gates(error.report)
        print_error(error.code, error.message, error.next, as_json, gates=error.report)
        return
    if isinstance(error, StreamFlowError):
        print_error(error.code, error.message, error.next, as_json)
        return
    arguments = sys.argv[1:]
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        print_error(
            "disk_full",
            f"`{_command(arguments)}` failed: {_reason(error)}.",
            "Make room on that disk, and run the command again.",
            as_json,
        )
        return
    secrets = failure_details.known_secrets(os.environ)
    folders = failure_details.folders()
    file = failure_details.write(error, arguments, folders, datetime.now(UTC), secrets)
    reason = failure_details.redacted(_reason(error), secrets)
    if file is None:
        details = f"Its details can't be written to {folders[0]}: make that folder writable"
    else:
        details = f"Its details are in {file}: read them"
    print_error(
        "internal_error",
        f"`{_command(arguments)}` failed: {reason}.",
        f"{details}, and run the command again. `streamflow status` shows what works.",
        as_json,
    )


@contextmanager
def errors_exit_with(code: int, as_json: bool) -> Iterator[None]:
    """End the program with this exit code, after printing, if the block raises an error."""
    try:
        yield
    except (typer.TyperException, typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except Exception as error:
        print_failure(error, as_json)
        raise typer.Exit(code) from error


def _command(arguments: list[str]) -> str:
    """The program and the command's name, without what is given to it."""
    names = []
    for argument in arguments:
        if argument.startswith("-"):
            break
        names.append(argument)
    return " ".join(["streamflow", *names[:1]])


def _reason(error: Exception) -> str:
    """What happened, in one short line."""
    if isinstance(error, MemoryError):
        return "there isn't enough memory for it"
    if isinstance(error, RecursionError):
        return "something in its input is nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        file = error.filename2 or error.filename  # of a copy, where it goes to
        where = f": {file}" if file else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"the disk is full{where}"
        return f"{error.strerror}{where}"
    first = str(error).strip().partition("\n")[0].rstrip(".")
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} …"
