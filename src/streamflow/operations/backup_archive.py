"""A backup's file: a tar whose first member is a manifest of the others, each with its SHA-256.

    manifest.json           what is in it, of when, and made by which program
    manifest.json.sha256    of the manifest, as `sha256sum --check` takes it
    mlflow.dump             MLflow's tables, as `pg_dump --format=custom` gives them
    streamflow.dump         all else of ours in PostgreSQL
    artifacts/...           the files of runs and models

Nothing in it is believed before all of it was read once: names, sizes and hashes.
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
from typing import Any, BinaryIO, Literal

from streamflow.errors import BackupRefused, TamperedBackup

MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.json.sha256"
MLFLOW_DUMP = "mlflow.dump"
STREAMFLOW_DUMP = "streamflow.dump"
ARTIFACTS = "artifacts/"

PART_BYTES = 1 << 20
# No member is larger, so that room for the manifest can be left before its sizes are known.
LARGEST_BYTES = 10**15

Content = Callable[[], Iterable[bytes]]


@dataclass(frozen=True)
class Member:
    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself.

    `version` is StreamFlow's, `schema` the number of the newest migration, `postgres` the server's
    version, `taken_at` UTC. `schemas` are those in `streamflow.dump`, `mlflow_schema` is the one in
    `mlflow.dump`; its tables name artifacts by URIs below `location`, and `experiment` is the one
    whose files are right there, if there is one, and not in a folder with its number.
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
        return [member for member in self.members if member.name.startswith(ARTIFACTS)]

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=datetime.isoformat, indent=1)


def write(out: BinaryIO, manifest: Manifest, contents: Sequence[tuple[str, Content]]) -> Manifest:
    """Write the contents by their names, and the manifest with their sizes and hashes before them.

    `out` is empty and can seek. Each content is asked for when its turn has come.
    """
    unknown = tuple(Member(name, LARGEST_BYTES, "0" * 64) for name, _ in contents)
    room = len(replace(manifest, members=unknown).to_json())
    at = int(manifest.taken_at.timestamp())

    def head(text: str) -> None:
        written = _add(out, MANIFEST, [text.ljust(room).encode()], at)
        _add(out, MANIFEST_HASH, [_hash_line(written.sha256)], at)

    head("")
    members = tuple(_add(out, name, content(), at) for name, content in contents)
    out.write(bytes(2 * tarfile.BLOCKSIZE))
    out.seek(0)
    whole = replace(manifest, members=members)
    head(whole.to_json())
    return whole


def _add(out: BinaryIO, name: str, content: Iterable[bytes], at: int) -> Member:
    start, size, sha256 = out.tell(), 0, hashlib.sha256()
    out.write(_header(name, 0, at))
    for part in content:
        out.write(part)
        size += len(part)
        sha256.update(part)
    out.write(bytes(-size % tarfile.BLOCKSIZE))
    end = out.tell()
    out.seek(start)
    out.write(_header(name, size, at))
    out.seek(end)
    return Member(name, size, sha256.hexdigest())


def _header(name: str, size: int, at: int) -> bytes:
    """As long for one size as for another: GNU's format has a place for any."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, at, 0o600
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def _hash_line(sha256: str) -> bytes:
    return f"{sha256}  {MANIFEST}\n".encode()


@dataclass(frozen=True)
class Archive:
    """A backup that was read as a whole and is what its manifest says; `id` is the manifest's hash.

    `offsets` says where in the file each member's content begins.
    """

    file: Path
    id: str
    manifest: Manifest
    offsets: Mapping[str, int]

    def content(self, name: str) -> Iterator[bytes]:
        """The member's bytes. Raises TamperedBackup if they aren't any more what they were."""
        (member,) = (one for one in self.manifest.members if one.name == name)
        with self.file.open("rb") as opened:
            opened.seek(self.offsets[name])
            yield from _checked(opened, self.file, member)


def read(file: Path, progress: Callable[[str], None] = lambda member: None) -> Archive:
    """Read all of the file, and hold each member against the manifest.

    Raises BackupRefused if it's no backup or of a format that isn't known, TamperedBackup naming
    the first member that isn't what was written.
    """
    try:
        with file.open("rb") as opened:
            return _read(opened, file, progress)
    except OSError as error:
        raise BackupRefused(
            f"{file} can't be read: {error.strerror}.",
            "Name a file that `streamflow backup` wrote.",
        ) from error


def _read(opened: BinaryIO, file: Path, progress: Callable[[str], None]) -> Archive:
    try:
        tar = tarfile.TarFile(fileobj=opened, encoding="utf-8", errors="replace")
        first = tar.next()
    except tarfile.TarError:
        first = None
    if first is None or first.name != MANIFEST:
        raise BackupRefused(
            f"{file} isn't a backup, or its beginning is damaged: it has no {MANIFEST}.",
            "Name a file that `streamflow backup` wrote.",
        )
    opened.seek(first.offset_data)
    text = opened.read(first.size)
    id = hashlib.sha256(text).hexdigest()
    line = _hash_line(id)
    offsets = {}

    def follows(member: Member) -> None:
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
        opened.seek(info.offset_data)
        for _ in _checked(opened, file, member):
            pass

    follows(Member(MANIFEST_HASH, len(line), hashlib.sha256(line).hexdigest()))
    manifest = _manifest(text, file)
    for member in manifest.members:
        progress(member.name)
        follows(member)
    if (more := tar.next()) is not None:
        raise TamperedBackup(file, more.name, f"isn't in {MANIFEST}")
    return Archive(file, id, manifest, offsets)


def _checked(opened: BinaryIO, file: Path, member: Member) -> Iterator[bytes]:
    """The member's bytes from here on; after the last one, whether they have their hash."""
    sha256, left = hashlib.sha256(), member.size
    while left and (part := opened.read(min(left, PART_BYTES))):
        left -= len(part)
        sha256.update(part)
        yield part
    if left or sha256.hexdigest() != member.sha256:
        raise TamperedBackup(file, member.name, "isn't what was written: its SHA-256 differs")


def _manifest(text: bytes, file: Path) -> Manifest:
    from pydantic import TypeAdapter, ValidationError

    try:
        told: Any = json.loads(text)
        if (format := told["format"]) != 1:
            raise BackupRefused(
                f"{file} has format {format}, and this program knows format 1.",
                f"Restore it with the program that wrote it: StreamFlow {told['version']}.",
            )
        manifest: Manifest = TypeAdapter(Manifest).validate_python(told)
    except (ValueError, TypeError, KeyError, ValidationError) as error:
        raise TamperedBackup(file, MANIFEST, "can't be understood") from error
    names = [member.name for member in manifest.members]
    for name in names:
        if name not in (MLFLOW_DUMP, STREAMFLOW_DUMP) and not _is_below(ARTIFACTS, name):
            raise TamperedBackup(file, repr(name), "has no place in a backup")
    if len(set(names)) < len(names) or not {MLFLOW_DUMP, STREAMFLOW_DUMP} <= set(names):
        raise TamperedBackup(file, MANIFEST, "lacks a member, or has one twice")
    return manifest


def _is_below(folder: str, name: str) -> bool:
    """Whether the name leads into the folder, and nowhere else when it's taken for a path."""
    parts = name.removeprefix(folder).split("/")
    plain = all(part not in ("", os.curdir, os.pardir) and "\0" not in part for part in parts)
    return name.startswith(folder) and plain
