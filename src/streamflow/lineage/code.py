"""The code of a run: a hash of each source file, and the git commit."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from streamflow.hashes import Sha256

DIFF_FILE = "code.diff"
# A larger diff isn't stored with the run, only its hash.
MAX_DIFF_BYTES = 1_000_000
OWN_PACKAGES = ("streamflow", "feast_postgres", "feast_duckdb", "feast_spark", "feast_known")


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

    def files(self, name: str) -> Mapping[str, Sha256]:
        """The hashes of the package's files; none if it isn't among the packages."""
        return self.packages[name].files if name in self.packages else {}

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
    hashes = {
        file: hashlib.sha256(path.read_bytes()).hexdigest()
        for file, path in source_files(name).items()
    }
    whole = hashlib.sha256("".join(f"{file}\0{one}\0" for file, one in hashes.items()).encode())
    return Package(whole.hexdigest(), hashes)


def source_root(name: str) -> Path | None:
    """The folder of a package or module; None if it isn't installed."""
    spec = util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def source_files(name: str) -> dict[str, Path]:
    """The files of a package or module by their paths from its folder, sorted."""
    spec = util.find_spec(name)
    if spec is None or spec.origin is None:
        return {}
    origin = Path(spec.origin)
    root = origin.parent
    if not spec.submodule_search_locations:
        return {origin.name: origin}
    paths = {path.relative_to(root): path for path in root.rglob("*") if path.is_file()}
    files = {
        relative.as_posix(): path
        for relative, path in paths.items()
        if path.suffix != ".pyc" and not any(part.startswith(".") for part in relative.parts)
    }
    return dict(sorted(files.items()))


def changed_files(before: Code, after: Code) -> list[tuple[str, str]]:
    """The files that differ, or that only one of them has, each with its package."""
    changed = []
    for name in sorted(before.packages.keys() | after.packages.keys()):
        old, new = before.files(name), after.files(name)
        changed += [(name, file) for file in sorted({*old, *new}) if old.get(file) != new.get(file)]
    return changed


def shown(package: str, file: str) -> str:
    """A file's path, as people are told it."""
    return f"{package.replace('.', '/')}/{file}"


def is_committed(files: Iterable[Path], folder: Path = Path(__file__).parent) -> bool:
    """Whether the commit of the checkout that contains `folder` has exactly these files."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        return False
    checkout = Path(top.decode().strip())
    tracked = _git(checkout, "ls-tree", "-r", "-z", "--name-only", "HEAD")
    changed = _git(checkout, "diff", "-z", "--name-only", "HEAD")
    if tracked is None or changed is None:
        return False
    clean = {*tracked.decode().split("\0")} - {*changed.decode().split("\0")}
    return all(
        path.resolve().is_relative_to(checkout)
        and path.resolve().relative_to(checkout).as_posix() in clean
        for path in files
    )


def committed(folder: Path, commit: str, file: str) -> bytes | None:
    """A file below `folder` as it is in the commit; None if git doesn't have it."""
    return _git(folder, "show", f"{commit}:./{file}")


def _git(folder: Path, *arguments: str) -> bytes | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        completed = subprocess.run(command, capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return completed.stdout if completed.returncode == 0 else None
