"""The commands `move-history`, `compact-history`, `migrate`, `backup`, `restore` and `prune`: what
is stored as a whole."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.terminal import (
    Json,
    open_platform,
    print_result,
    print_table,
    show_progress,
)
from streamflow.cli.times import parse_duration

if TYPE_CHECKING:
    from streamflow.operations.backup_manifest import Manifest

app = typer.Typer()


@app.command(
    name="move-history", epilog="Example: streamflow move-history --to file:///srv/history"
)
def move_history(
    to: Annotated[
        str,
        typer.Option(
            metavar="LOCATION", help="A folder or an object store: file:///…, s3://… or gs://…"
        ),
    ],
    json: Json = False,
) -> None:
    """Move history from PostgreSQL to tables of Apache Iceberg; all tables or none."""
    from streamflow.operations.history_files import move_history as moving

    with open_platform() as platform, show_progress(json, "move-history") as progress:
        done = moving.move_history(platform, to, progress)

    def print_text() -> None:
        if done.tables:
            rows = [[one.history, f"{one.rows:,}", str(one.files)] for one in done.tables]
            print_table("moved", ["history", "rows", "files"], rows)
        else:
            print(f"History is in {done.location} already.")
        print(f"From now on: STREAMFLOW_HISTORY={done.location} and STREAMFLOW_ENGINE=duckdb")

    print_result(asdict(done), json, print_text)


@app.command(name="compact-history", epilog="Example: streamflow compact-history")
def compact_history(
    older_than: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration,
            metavar="DURATION",
            help="Only files that no snapshot has had for so long are removed. Default: 1d.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Write the small files of a history in Apache Iceberg to few large ones, with the same rows;
    remove the files that no snapshot needs any more."""
    from streamflow.operations.history_files import compact_history as compacting

    with open_platform() as platform, show_progress(json, "compact-history") as progress:
        age = compacting.LONGEST_READING if older_than is None else older_than
        done = compacting.compact_history(platform, age, datetime.now(UTC), progress)

    def print_text() -> None:
        rows = [
            [one.history, f"{one.rows:,}", str(one.before), str(one.files)] for one in done.tables
        ]
        if rows:
            print_table("compacted", ["history", "rows", "files before", "files"], rows)
        unneeded = done.unneeded
        size = f"{unneeded.files:,} files, {unneeded.bytes:,} bytes"
        if unneeded.files and unneeded.removed:
            print(f"Removed, because no snapshot needs them: {size}.")
        elif unneeded.files:
            print(f"No snapshot needs {size}, but a step is running that may read them.")
            print("Next: when it has ended, the same command again.")
        elif not rows:
            print("Nothing is to be done: no month has several small files.")
        if rows:
            print("The files of before stay for now; the same command, run later, removes them.")

    print_result(asdict(done), json, print_text)


@app.command(epilog="Example: streamflow migrate")
def migrate(json: Json = False) -> None:
    """Bring the database's schema up to date, and its roles if STREAMFLOW_ROLE_PASSWORDS is set."""
    from streamflow.bootstrap import connected
    from streamflow.postgres import migrations, roles
    from streamflow.settings import load_settings
    from streamflow.use_case.module import load_use_case

    settings = load_settings()
    with connected(settings) as database, show_progress(json, "migrate"):
        applied = migrations.migrate(database)
        if settings.role_passwords:
            history = load_use_case(settings.use_case).name
            granted = roles.grant(database, history, settings.role_passwords)
        else:
            granted = roles.existing(database)
    known = migrations.migrations()
    result = {
        "schema": known[-1].number,
        "applied": [str(migration) for migration in applied],
        "roles": {role.name: role.may_connect for role in granted},
    }

    def print_text() -> None:
        rows = [[str(one), "applied" if one in applied else "was there"] for one in known]
        rows += [[role.name, "may connect" if role.may_connect else ""] for role in granted]
        print_table("database", ["", ""], rows)
        if not granted:
            print("No roles: one user does everything. See docs/operations.md, Roles.")

    print_result(result, json, print_text)


@app.command(epilog="Example: streamflow backup 2024-03-01.backup")
def backup(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A new file; an existing one isn't replaced.")
    ],
    json: Json = False,
) -> None:
    """Write database, online features, registry and artifacts to a file; the servers keep
    running."""
    from streamflow.operations.backup import backup
    from streamflow.settings import load_settings

    started = time.perf_counter()
    with show_progress(json, "backup") as progress:
        done = backup(load_settings(), file, datetime.now(UTC), progress)
    seconds = time.perf_counter() - started
    result = {
        "file": str(done.file),
        "bytes": done.bytes,
        **_manifest_json(done.manifest),
        "members": [asdict(member) for member in done.manifest.members],
        "seconds": seconds,
    }

    def print_text() -> None:
        rows = [*_manifest_rows(done.manifest), ["size", f"{done.bytes:,} bytes"]]
        print_table(f"backup {done.file}", ["", ""], [*rows, _duration_row(seconds)])
        print("Next: keep it on another machine; it holds all data. streamflow restore FILE")

    print_result(result, json, print_text)


@app.command(epilog="Example: streamflow restore 2024-03-01.backup")
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` wrote.")],
    forgotten: Annotated[
        Path | None,
        typer.Option(help="Who was forgotten since: the file forgotten.json of the home before."),
    ] = None,
    json: Json = False,
) -> None:
    """Restore a backup into an empty database, after the whole file was checked."""
    from streamflow.operations.restore import restore
    from streamflow.settings import load_settings

    started = time.perf_counter()
    with show_progress(json, "restore") as progress:
        done = restore(load_settings(), file, progress, forgotten)
    seconds = time.perf_counter() - started
    result = {
        "file": str(file.absolute()),
        **_manifest_json(done.manifest),
        "members": len(done.manifest.members),
        "restored_before": done.before,
        "migrated": done.migrated,
        "forgotten": done.forgotten,
        "forgotten_again": asdict(done.again),
        "seconds": seconds,
    }

    def print_text() -> None:
        rows = [*_manifest_rows(done.manifest), ["migrated", _migrated(done.migrated)]]
        print_table(f"restored {file.absolute()}", ["", ""], [*rows, _duration_row(seconds)])
        if done.before:
            print("This backup was already restored here; nothing was changed.")
        if done.forgotten is None:
            print(
                "No list says who was forgotten after this backup. If anybody was: the same "
                "command with --forgotten and the file forgotten.json of the home before."
            )
        elif done.again.people:
            print(f"{len(done.again.people):,} who had been forgotten were forgotten again.")
        for one in done.again.left:
            print(f"left: {one.what}: {one.why.rstrip('.')}. Next: {one.next}")
        print("Next: streamflow reproduce --all")

    print_result(result, json, print_text)


@app.command(epilog="Example: streamflow prune --keep 20 --older-than 180d --dry-run")
def prune(
    keep: Annotated[int, typer.Option(min=0, help="So many of the newest runs stay.")],
    older_than: Annotated[
        timedelta,
        typer.Option(parser=parse_duration, metavar="DURATION", help="Only older runs go."),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go.")] = False,
    json: Json = False,
) -> None:
    """Take old runs and versions away, with their files.

    What is in Production or Staging stays, what was in Production lately, what a rollback would
    take, and what the prediction log has a prediction of.
    """
    from streamflow.operations import prune as step

    with open_platform() as platform, show_progress(json, "prune") as progress:
        now = datetime.now(UTC)
        if dry_run:
            done = step.plan(platform, keep, older_than, now)
        else:
            done = step.prune(platform, keep, older_than, now, progress)
    outcome = "would be removed" if dry_run else "removed"
    rows = [
        [
            one.run_id,
            f"{one.started_at:%Y-%m-%d %H:%M}",
            ", ".join(map(str, one.versions)),
            f"stays: {', '.join(one.reasons)}" if one.reasons else outcome,
        ]
        for one in sorted([*done.removed, *done.kept], key=lambda one: one.started_at)
    ]

    def print_text() -> None:
        if rows:
            print_table("old runs", ["run", "started (UTC)", "versions", ""], rows)
        else:
            print(f"No run is old enough beside the {keep} newest.")
        if dry_run:
            print("Nothing is changed.")

    print_result({**asdict(done), "dry_run": dry_run}, json, print_text)


def _manifest_json(manifest: Manifest) -> dict[str, object]:
    return {
        "taken_at": manifest.taken_at,
        "version": manifest.version,
        "schema": manifest.schema,
        "postgres": manifest.postgres,
        "artifacts": len(manifest.artifacts),
    }


def _manifest_rows(manifest: Manifest) -> list[list[str]]:
    artifacts = manifest.artifacts
    size = sum(member.size for member in artifacts)
    return [
        ["taken at", manifest.taken_at.isoformat()],
        ["by", f"StreamFlow {manifest.version}"],
        ["schemas", f"{', '.join(manifest.schemas)}, at migration {manifest.schema:04d}"],
        ["artifacts", f"{len(artifacts):,}, {size:,} bytes"],
    ]


def _migrated(migrations: list[str]) -> str:
    return ", ".join(migrations) or "not needed"


def _duration_row(seconds: float) -> list[str]:
    return ["took", f"{seconds:.1f} s"]
