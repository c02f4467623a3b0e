"""A backup's file: a tar whose first member is a manifest of the others, each with its SHA-256.

    manifest.json           the members, the time of the backup, the program's version
    manifest.json.sha256    of the manifest, as `sha256sum --check` takes it
    mlflow.dump             MLflow's tables, as `pg_dump --format=custom` gives them
    streamflow.dump         StreamFlow's other schemas
    artifacts/...           the files of runs and models
    history/...             the files of a history in Apache Iceberg, with its columns

A restore reads the whole file first, and checks each member's name, size and hash.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

from streamflow.operations.backup_errors import BackupRefused, TamperedBackup
from streamflow.operations.backup_manifest import (
    LARGEST_BYTES,
    LARGEST_MANIFEST_BYTES,
    MANIFEST,
    MANIFEST_HASH,
    Manifest,
    Member,
    parsed,
    shown,
)
from streamflow.progress import Progress, silent

PART_BYTES = 1 << 20
# What a tar's header has in addition, such as a long name, is read into memory too.
LARGEST_HEADER_BYTES = 1 << 20
# Called when it is the member's turn; returns its bytes in parts.
ReadMember = Callable[[], Iterable[bytes]]


def write(out: BinaryIO, manifest: Manifest, members: Sequence[tuple[str, ReadMember]]) -> Manifest:
    """Write the members, and before them the manifest with their sizes and hashes; returns it.

    `out` is empty and seekable. Each member is read when it is its turn.
    """
    placeholders = tuple(Member(name, LARGEST_BYTES, "0" * 64) for name, _ in members)
    reserved = len(replace(manifest, members=placeholders).to_json())
    time = int(manifest.taken_at.timestamp())
    if reserved > LARGEST_MANIFEST_BYTES:
        raise BackupRefused(
            f"The backup would have {len(members):,} files, more than one file can hold.",
            "Remove runs that nobody needs: `mlflow gc`.",
        )

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


class _HeaderReader:
    """A stream of which only small parts can be read: tarfile reads what a header says at once."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= LARGEST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._stream.read(size)


def _next(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    """The next member; None at the end, and where there is no header that can be read."""
    try:
        return tar.next()
    # What tarfile raises for numbers that aren't, for bytes that aren't text, and for headers that
    # each announce another one.
    except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError):
        return None


def _read(stream: BinaryIO, file: Path, progress: Progress) -> Archive:
    first = tar = None
    with suppress(tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError):
        tar = tarfile.TarFile(
            fileobj=cast(BinaryIO, _HeaderReader(stream)), encoding="utf-8", errors="replace"
        )
        first = tar.next()
    if tar is None or first is None or first.name != MANIFEST:
        raise BackupRefused(
            f"{file} isn't a backup, or its beginning is damaged: it has no {MANIFEST}.",
            "Name a file that `streamflow backup` wrote.",
        )
    if first.size > min(LARGEST_MANIFEST_BYTES, stream.seek(0, os.SEEK_END)):
        raise TamperedBackup(file, MANIFEST, f"can't have {first.size:,} bytes")
    stream.seek(first.offset_data)
    text = stream.read(first.size)
    id = hashlib.sha256(text).hexdigest()
    line = _hash_line(id)
    offsets = {}

    def verify_next(member: Member) -> None:
        info = _next(tar)
        if info is None:
            raise TamperedBackup(file, member.name, "isn't where it should be")
        if info.name != member.name:
            found = shown(info.name)
            raise TamperedBackup(file, found, f"is where {shown(member.name)} should be")
        if info.type != tarfile.REGTYPE:
            raise TamperedBackup(file, member.name, "isn't a plain file")
        if info.size != member.size:
            raise TamperedBackup(file, member.name, "hasn't the size that it should have")
        offsets[member.name] = info.offset_data
        stream.seek(info.offset_data)
        for _ in _read_verified(stream, file, member):
            pass

    verify_next(Member(MANIFEST_HASH, len(line), hashlib.sha256(line).hexdigest()))
    manifest = parsed(text, file)
    for member in manifest.members:
        progress(member.name)
        verify_next(member)
    if (extra := _next(tar)) is not None:
        raise TamperedBackup(file, shown(extra.name), f"isn't in {MANIFEST}")
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
