"""The commands that keep all of it elsewhere, and bring it back: `backup`, `restore`."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamflow.cli.terminal import Json, progress, show, table

if TYPE_CHECKING:
    from streamflow.operations.backup_archive import Manifest

app = typer.Typer()


@app.command(epilog="Example: streamflow backup 2024-03-01.backup")
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new one; it's never replaced.")],
    json: Json = False,
) -> None:
    """Write database, features online, registry and artifacts to a file; all else goes on."""
    from streamflow.operations.backup import backup
    from streamflow.settings import load_settings

    started = time.perf_counter()
    with progress(json, "backup") as step:
        done = backup(load_settings(), file, datetime.now(UTC), step)
    seconds = time.perf_counter() - started
    answer = {
        "file": str(done.file),
        "bytes": done.bytes,
        **_told(done.manifest),
        "members": [asdict(member) for member in done.manifest.members],
        "seconds": seconds,
    }

    def lines() -> None:
        rows = [*_rows(done.manifest), ["size", f"{done.bytes:,} bytes"], _took(seconds)]
        table(f"backup {done.file}", ["", ""], rows)
        print("Next: keep it on another machine; it holds all data. streamflow restore FILE")

    show(answer, json, lines)


@app.command(epilog="Example: streamflow restore 2024-03-01.backup")
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` wrote.")],
    json: Json = False,
) -> None:
    """Bring a backup back onto an empty database, after all of it was checked."""
    from streamflow.operations.restore import restore
    from streamflow.settings import load_settings

    started = time.perf_counter()
    with progress(json, "restore") as step:
        done = restore(load_settings(), file, step)
    seconds = time.perf_counter() - started
    answer = {
        "file": str(file.absolute()),
        **_told(done.manifest),
        "members": len(done.manifest.members),
        "restored_before": done.before,
        "migrated": done.migrated,
        "seconds": seconds,
    }

    def lines() -> None:
        rows = [*_rows(done.manifest), ["migrated", ", ".join(done.migrated) or "not needed"]]
        table(f"restored {file.absolute()}", ["", ""], [*rows, _took(seconds)])
        if done.before:
            print("This backup had been restored here before; nothing was changed.")
        print("Next: streamflow reproduce --all")

    show(answer, json, lines)


def _told(manifest: Manifest) -> dict[str, Any]:
    return {
        "taken_at": manifest.taken_at,
        "version": manifest.version,
        "schema": manifest.schema,
        "postgres": manifest.postgres,
        "artifacts": len(manifest.artifacts),
    }


def _rows(manifest: Manifest) -> list[list[str]]:
    artifacts = manifest.artifacts
    size = sum(member.size for member in artifacts)
    return [
        ["taken at", manifest.taken_at.isoformat()],
        ["by", f"StreamFlow {manifest.version}"],
        ["schemas", f"{', '.join(manifest.schemas)}, at migration {manifest.schema:04d}"],
        ["artifacts", f"{len(artifacts):,}, {size:,} bytes"],
    ]


def _took(seconds: float) -> list[str]:
    return ["took", f"{seconds:.1f} s"]
