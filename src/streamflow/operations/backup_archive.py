"""A backup's file: a tar whose first member is a manifest of the others, each with its SHA-256.

    manifest.json           the members, the time of the backup, the program's version
    manifest.json.sha256    of the manifest, as `sha256sum --check` takes it
    mlflow.dump             MLflow's tables, as `pg_dump --format=custom` gives them
    streamflow.dump         StreamFlow's other schemas
    artifacts/...           the files of runs and models

A restore reads the whole file first, and checks each member's name, size and hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal

from streamflow.errors import BackupRefused, TamperedBackup
from streamflow.progress import Progress, silent

MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.json.sha256"
MLFLOW_DUMP = "mlflow.dump"
STREAMFLOW_DUMP = "streamflow.dump"
ARTIFACTS = "artifacts/"

PART_BYTES = 1 << 20
# The largest size of a member: space for the manifest is reserved before the sizes are known.
LARGEST_BYTES = 10**15

# Called when it is the member's turn; returns its bytes in parts.
ReadMember = Callable[[], Iterable[bytes]]


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


def write(out: BinaryIO, manifest: Manifest, members: Sequence[tuple[str, ReadMember]]) -> Manifest:
    """Write the members, and before them the manifest with their sizes and hashes; returns it.

    `out` is empty and seekable. Each member is read when it is its turn.
    """
    placeholders = tuple(Member(name, LARGEST_BYTES, "0" * 64) for name, _ in members)
    reserved = len(replace(manifest, members=placeholders).to_json())
    time = int(manifest.taken_at.timestamp())

    def write_manifest(text: str) -> None:
        written = _add(out, MANIFEST, [text.ljust(reserved).encode()], time)
        _add(out, MANIFEST_HASH, [_hash_line(written.sha256)], time)

    write_manifest("")
    written = tuple(_add(out, name, read_member(), time) for name, read_member in members)
    out.write(bytes(2 * tarfile.BLOCKSIZE))
    out.seek(0)
    complete = replace(manifest, members=written)
    write_manifest(complete.to_json())
    return complete


def _add(out: BinaryIO, name: str, parts: Iterable[bytes], time: int) -> Member:
    start, size, sha256 = out.tell(), 0, hashlib.sha256()
    out.write(_header(name, 0, time))
    for part in parts:
        out.write(part)
        size += len(part)
        sha256.update(part)
    out.write(bytes(-size % tarfile.BLOCKSIZE))
    end = out.tell()
    out.seek(start)
    out.write(_header(name, size, time))
    out.seek(end)
    return Member(name, size, sha256.hexdigest())


def _header(name: str, size: int, time: int) -> bytes:
    """A tar header in GNU's format: its length doesn't depend on the size."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, time, 0o600
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def _hash_line(sha256: str) -> bytes:
    return f"{sha256}  {MANIFEST}\n".encode()


@dataclass(frozen=True)
class Archive:
    """A backup that was read completely and agrees with its manifest.

    `id` is the manifest's hash. `offsets` says where in the file each member's content begins.
    """

    file: Path
    id: str
    manifest: Manifest
    offsets: Mapping[str, int]

    def content(self, name: str) -> Iterator[bytes]:
        """The member's bytes in parts. Raises TamperedBackup if they changed since `read`."""
        (member,) = (member for member in self.manifest.members if member.name == name)
        with self.file.open("rb") as stream:
            stream.seek(self.offsets[name])
            yield from _read_verified(stream, self.file, member)


def read(file: Path, progress: Progress = silent) -> Archive:
    """Read the whole file, and compare each member with the manifest.

    Raises BackupRefused if it isn't a backup or its format is unknown, and TamperedBackup naming
    the first member that differs from the manifest.
    """
    try:
        with file.open("rb") as stream:
            return _read(stream, file, progress)
    except OSError as error:
        raise BackupRefused(
            f"{file} can't be read: {error.strerror}.",
            "Name a file that `streamflow backup` wrote.",
        ) from error


def _read(stream: BinaryIO, file: Path, progress: Progress) -> Archive:
    try:
        tar = tarfile.TarFile(fileobj=stream, encoding="utf-8", errors="replace")
        first = tar.next()
    except tarfile.TarError:
        first = None
    if first is None or first.name != MANIFEST:
        raise BackupRefused(
            f"{file} isn't a backup, or its beginning is damaged: it has no {MANIFEST}.",
            "Name a file that `streamflow backup` wrote.",
        )
    stream.seek(first.offset_data)
    text = stream.read(first.size)
    id = hashlib.sha256(text).hexdigest()
    line = _hash_line(id)
    offsets = {}

    def verify_next(member: Member) -> None:
        try:
            info = tar.next()
        except tarfile.TarError:
            info = None
        if info is None:
            raise TamperedBackup(file, member.name, "isn't where it should be")
        if info.name != member.name:
            raise TamperedBackup(file, info.name, f"is where {member.name} should be")
        if info.type != tarfile.REGTYPE:
            raise TamperedBackup(file, member.name, "isn't a plain file")
        if info.size != member.size:
            raise TamperedBackup(file, member.name, "hasn't the size that it should have")
        offsets[member.name] = info.offset_data
        stream.seek(info.offset_data)
        for _ in _read_verified(stream, file, member):
            pass

    verify_next(Member(MANIFEST_HASH, len(line), hashlib.sha256(line).hexdigest()))
    manifest = _manifest(text, file)
    for member in manifest.members:
        progress(member.name)
        verify_next(member)
    if (extra := tar.next()) is not None:
        raise TamperedBackup(file, extra.name, f"isn't in {MANIFEST}")
    return Archive(file, id, manifest, offsets)


def _read_verified(stream: BinaryIO, file: Path, member: Member) -> Iterator[bytes]:
    """The member's bytes from the stream's position on. Raises TamperedBackup after the last one if
    their hash differs."""
    sha256, left = hashlib.sha256(), member.size
    while left and (part := stream.read(min(left, PART_BYTES))):
        left -= len(part)
        sha256.update(part)
        yield part
    if left or sha256.hexdigest() != member.sha256:
        raise TamperedBackup(file, member.name, "isn't what was written: its SHA-256 differs")


def _manifest(text: bytes, file: Path) -> Manifest:
    from pydantic import TypeAdapter, ValidationError

    try:
        document: dict[str, object] = json.loads(text)
        if (format := document["format"]) != 1:
            raise BackupRefused(
                f"{file} has format {format}, and this program knows format 1.",
                f"Restore it with the program that wrote it: StreamFlow {document['version']}.",
            )
        manifest: Manifest = TypeAdapter(Manifest).validate_python(document)
    except (ValueError, TypeError, KeyError, ValidationError) as error:
        raise TamperedBackup(
            file, MANIFEST, "isn't a manifest that this program can read"
        ) from error
    names = [member.name for member in manifest.members]
    for name in names:
        if name not in (MLFLOW_DUMP, STREAMFLOW_DUMP) and not _is_artifact(name):
            raise TamperedBackup(file, repr(name), "has no place in a backup")
    if len(set(names)) < len(names) or not {MLFLOW_DUMP, STREAMFLOW_DUMP} <= set(names):
        raise TamperedBackup(file, MANIFEST, "lacks a member, or has one twice")
    return manifest


def _is_artifact(name: str) -> bool:
    """Whether the name, as a path, is of a file below the artifacts' folder."""
    parts = name.removeprefix(ARTIFACTS).split("/")
    safe = all(part not in ("", os.curdir, os.pardir) and "\0" not in part for part in parts)
    return name.startswith(ARTIFACTS) and safe
