"""The code of a run: a hash of each source file, and the git commit."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from streamflow.hashes import Sha256

DIFF_FILE = "code.diff"
# A larger diff isn't stored with the run, only its hash.
MAX_DIFF_BYTES = 1_000_000
OWN_PACKAGES = ("streamflow", "feast_postgres")


@dataclass(frozen=True)
class Package:
    """`files` has the SHA-256 of each file, `hash` is over all of them."""

    hash: Sha256
    files: dict[str, Sha256]


@dataclass(frozen=True)
class Code:
    """`packages` decide whether code is the same; git explains how it isn't.

    `commit` is None where the program isn't in a git checkout; `diff_hash` is over what tracked
    files differ by from the commit, if they do.
    """

    commit: str | None
    diff_hash: Sha256 | None
    packages: dict[str, Package]

    @property
    def dirty(self) -> bool:
        """Whether tracked files had uncommitted changes."""
        return self.diff_hash is not None


def code(packages: Sequence[str], folder: Path = Path(__file__).parent) -> Code:
    """The source files of `packages`, and the commit of the git checkout that contains `folder`."""
    commit = _git(folder, "rev-parse", "HEAD")
    diff = uncommitted(folder) if commit else b""
    return Code(
        commit=commit.decode().strip() if commit else None,
        diff_hash=hashlib.sha256(diff).hexdigest() if diff else None,
        packages={name: package(name) for name in dict.fromkeys(packages)},
    )


def uncommitted(folder: Path = Path(__file__).parent) -> bytes:
    """The uncommitted changes of tracked files, as a patch for `git apply`; empty without any."""
    plain = ("--binary", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames")
    return _git(folder, "diff", *plain, "HEAD") or b""


def package(name: str) -> Package:
    """The files of a package or module, found without importing it; none if it isn't installed."""
    spec = util.find_spec(name)
    if spec is None or spec.origin is None:
        return Package(hashlib.sha256(b"").hexdigest(), {})
    origin = Path(spec.origin)
    root = origin.parent
    files = {origin.name: origin}
    if spec.submodule_search_locations:
        paths = {path.relative_to(root): path for path in root.rglob("*") if path.is_file()}
        files = {
            relative.as_posix(): path
            for relative, path in paths.items()
            if path.suffix != ".pyc" and not any(part.startswith(".") for part in relative.parts)
        }
    hashes = {
        file: hashlib.sha256(path.read_bytes()).hexdigest() for file, path in sorted(files.items())
    }
    whole = hashlib.sha256("".join(f"{file}\0{one}\0" for file, one in hashes.items()).encode())
    return Package(whole.hexdigest(), hashes)


def _git(folder: Path, *arguments: str) -> bytes | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        completed = subprocess.run(command, capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return completed.stdout if completed.returncode == 0 else None
