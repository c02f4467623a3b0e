"""A backup's manifest: what a backup consists of, and what no backup can have."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal

from streamflow.operations.backup_errors import BackupRefused, TamperedBackup

MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.json.sha256"
MLFLOW_DUMP = "mlflow.dump"
STREAMFLOW_DUMP = "streamflow.dump"
ARTIFACTS = "artifacts/"
HISTORY = "history/"

OWN_SCHEMA = "streamflow"
# The manifest is read into memory. This is enough for half a million artifacts.
LARGEST_MANIFEST_BYTES = 128 << 20
# A file's name may have 255 bytes on each system that we know, and a path 4096 bytes.
LONGEST_NAME_BYTES = 255
LONGEST_PATH_BYTES = 4096
LONGEST_SHOWN = 300
# A schema's name may have 63 bytes.
LONGEST_SCHEMA_BYTES = 63
# A restored file is written under this name first.
PARTIAL = ".restoring"
# The largest size of a member: space for the manifest is reserved before the sizes are known.
LARGEST_BYTES = 10**15
_HISTORY_FILE = re.compile(
    r"history/(?!\.)[^/\0]{1,60}/(?!\.)[^/\0]{1,60}_history/(columns\.json|[0-9]{6}\.parquet)"
)


@dataclass(frozen=True)
class Member:
    """A file of the backup, but for the manifest; `size` is in bytes."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a backup consists of.

    `version` is StreamFlow's, `schema` the number of the newest migration, `postgres` the server's
    version, `taken_at` is in UTC. `schemas` are those in `streamflow.dump`, `mlflow_schema` is the
    one in `mlflow.dump`; its tables name artifacts by URIs below `location`. `experiment` is the id
    of the experiment whose artifact folder is `location` itself; other experiments have a
    subfolder named after their id.
    """

    format: Literal[1]
    version: str
    schema: int
    postgres: str
    taken_at: datetime
    schemas: tuple[str, ...]
    mlflow_schema: str
    location: str
    experiment: int | None
    members: tuple[Member, ...] = ()

    @property
    def artifacts(self) -> list[Member]:
        """The members that are files of runs and models."""
        return [member for member in self.members if member.name.startswith(ARTIFACTS)]

    def to_json(self) -> str:
        """The text of manifest.json; `taken_at` in ISO 8601."""
        return json.dumps(asdict(self), default=datetime.isoformat, indent=1)


def shown(name: str) -> str:
    """The name for a message: a terminal can print it, and it isn't long."""
    printable = name if name.isprintable() else repr(name)
    return printable if len(printable) <= LONGEST_SHOWN else printable[:LONGEST_SHOWN] + "…"


def parsed(text: bytes, file: Path) -> Manifest:
    """The manifest of the backup `file`.

    Raises TamperedBackup, or BackupRefused if this program doesn't know its format.
    """
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import from_json

    try:
        # Unlike json.loads it refuses what is nested too deeply.
        document: dict[str, object] = from_json(text)
        if (format := document["format"]) != 1:
            raise BackupRefused(
                f"{file} has format {shown(str(format))}, and this program knows format 1.",
                "Restore it with the program that wrote it: StreamFlow "
                f"{shown(str(document['version']))}.",
            )
        manifest: Manifest = TypeAdapter(Manifest).validate_python(document)
    except (ValueError, TypeError, KeyError, ValidationError) as error:
        raise TamperedBackup(
            file, MANIFEST, "isn't a manifest that this program can read"
        ) from error
    if problem := _problem(manifest):
        raise TamperedBackup(file, MANIFEST, problem)
    names = [member.name for member in manifest.members]
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    for name in names:
        dumps = (MLFLOW_DUMP, STREAMFLOW_DUMP)
        if name not in dumps and not _is_artifact(name) and not _HISTORY_FILE.fullmatch(name):
            raise TamperedBackup(file, shown(repr(name)), "has no place in a backup")
        if name in folders:
            raise TamperedBackup(file, shown(name), "is a file and a folder")
    histories = {name.rpartition("/")[0] for name in names if name.startswith(HISTORY)}
    needed = {MLFLOW_DUMP, STREAMFLOW_DUMP, *(f"{one}/columns.json" for one in histories)}
    if len(set(names)) < len(names) or not needed <= set(names):
        raise TamperedBackup(file, MANIFEST, "lacks a member, or has one twice")
    return manifest


def _problem(manifest: Manifest) -> str | None:
    """What no backup has; None if there is nothing of the kind."""
    texts = [manifest.version, manifest.postgres, manifest.location]
    schemas = [*manifest.schemas, manifest.mlflow_schema]
    if not all(text.isprintable() and len(text) <= LONGEST_PATH_BYTES for text in texts):
        return "has text that can't be printed"
    if not all(_is_schema(name) for name in schemas) or len(set(schemas)) < len(schemas):
        return "names schemas that can't be restored"
    if OWN_SCHEMA not in manifest.schemas:
        return f"lacks the schema {OWN_SCHEMA}"
    if not 0 < manifest.schema < 10_000 or not 0 <= (manifest.experiment or 0) < 1 << 63:
        return "has a number that can't be"
    if not all(0 <= member.size <= LARGEST_BYTES for member in manifest.members):
        return "has a member of a size that can't be"
    return None


def _is_schema(name: str) -> bool:
    """Whether a database may have a schema of this name that isn't PostgreSQL's own."""
    own = name.startswith("pg_") or name == "information_schema"
    size = len(name.encode(errors="replace"))
    return name.isprintable() and 0 < size <= LONGEST_SCHEMA_BYTES and not own


def _is_artifact(name: str) -> bool:
    """Whether the name, as a path, is of a file below the artifacts' folder."""
    parts = name.removeprefix(ARTIFACTS).split("/")
    unsafe = ("", os.curdir, os.pardir, PARTIAL)
    return (
        name.startswith(ARTIFACTS)
        and len(name.encode(errors="replace")) <= LONGEST_PATH_BYTES
        and all(
            part not in unsafe
            and "\0" not in part
            and len(part.encode(errors="replace")) <= LONGEST_NAME_BYTES
            for part in parts
        )
    )
