"""Fingerprints: what a run was made from, so that it can be made again."""

from __future__ import annotations

import hashlib
import json
import platform
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from streamflow.training import TrainingSet

_PACK = {"INT64": "<q", "FLOAT64": "<d", "BOOL": "<?"}


def data_hash(training_set: TrainingSet) -> str:
    """SHA-256 over the whole training set in canonical order and types.

    Per column: its name and type, then per row a byte that says whether there is a value, and the
    value (int64, float64 and bool little-endian, text as UTF-8 behind its length).
    """
    sha = hashlib.sha256()
    columns: list[tuple[str, str, Sequence[Any]]] = [
        (training_set.schema.join_key, "STRING", training_set.entities)
    ]
    columns += [
        (feature.name, feature.type, training_set.columns[feature.name])
        for feature in training_set.schema.features
    ]
    columns.append(("label", "BOOL", training_set.labels))
    for name, kind, values in columns:
        sha.update(f"{name}\0{kind}\0{len(values)}\0".encode())
        parts = []
        for value in values:
            if value is None:
                parts.append(b"\0")
            elif kind == "STRING":
                text = str(value).encode()
                parts.append(b"\1" + struct.pack("<q", len(text)) + text)
            else:
                parts.append(b"\1" + struct.pack(_PACK[kind], value))
        sha.update(b"".join(parts))
    return sha.hexdigest()


@dataclass(frozen=True)
class Code:
    """`commit` is None where the program isn't in a git checkout."""

    commit: str | None
    dirty: bool


def code(folder: Path = Path(__file__).parent) -> Code:
    """The commit of the checkout that `folder` is in, and whether tracked files differ from it."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return Code(commit, bool(commit and git("status", "--porcelain", "--untracked-files=no")))


@dataclass(frozen=True)
class Environment:
    """`lock_hash` is over requirements.lock if the checkout has one, else over all versions."""

    python: str
    platform: str
    lock_hash: str
    versions: dict[str, str]


def environment(root: Path = Path(__file__).parents[2]) -> Environment:
    """What is installed here, and the lock that it was installed from."""
    versions = {
        distribution.metadata["Name"].lower(): distribution.version
        for distribution in metadata.distributions()
    }
    lock = root / "requirements.lock"
    locked = lock.read_bytes() if lock.is_file() else json.dumps(versions, sort_keys=True).encode()
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        lock_hash=hashlib.sha256(locked).hexdigest(),
        versions=dict(sorted(versions.items())),
    )
