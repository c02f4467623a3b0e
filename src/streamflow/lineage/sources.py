"""The source of a use case, kept with its run where git doesn't have it, and what changed in it."""

from __future__ import annotations

import ast
import difflib
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from streamflow.lineage import code
from streamflow.lineage.code import OWN_PACKAGES, Code
from streamflow.registry.mlflow_registry import Registry

# The folder among a run's artifacts; below it, files lie as on the path of imports.
FOLDER = "use_case"
# A package may have data beside its source.
MAX_FILE_BYTES, MAX_BYTES = 200_000, 2_000_000
MAX_LINES = 200

# What of a use case decides no model: whether a version may go to Production, and what is done with
# its scores.
_BARS = frozenset(
    {"acceptance", "gates", "monitoring", "phrases", "retraining", "risk_bands", "value"}
)
_BAR_CLASSES = frozenset({"Gates", "Monitoring", "Phrase", "Retraining", "Value"})
_BAR_MODULES = frozenset(
    f"streamflow.use_case{module}"
    for module in ("", ".gates", ".monitoring", ".phrases", ".retraining", ".value")
)

# A file of a package, as it was or is; None if that can't be had.
Read = Callable[[str, str], bytes | None]


@dataclass(frozen=True)
class SourceChanges:
    """`lines` is a unified diff of the changed files, of at most `MAX_LINES`.

    `without_effect` are those that differ in what decides no model, in comments or layout alone.
    """

    lines: list[str]
    without_effect: frozenset[str]


def keep(module: str, artifacts: Path) -> None:
    """Copy the source of the use case into `artifacts`, unless the recorded commit has all of it.

    Files that are too large for source are left out.
    """
    files = code.source_files(module)
    if not files or code.is_committed(files.values()):
        return
    left = MAX_BYTES
    for file, path in files.items():
        size = path.stat().st_size
        if size > min(MAX_FILE_BYTES, left):
            continue
        left -= size
        target = artifacts / FOLDER / _place(module, file, files)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _place(module: str, file: str, files: Iterable[str]) -> PurePosixPath:
    parts = module.split(".")
    is_package = "__init__.py" in files
    return PurePosixPath(*(parts if is_package else parts[:-1]), file)


def recorded(registry: Registry, run_id: str, was: Code, folder: Path) -> Read:
    """Reads files as they were at the run: from its artifacts, or from git."""
    kept = registry.artifact(run_id, FOLDER, folder)

    def read(module: str, file: str) -> bytes | None:
        files = was.files(module)
        for content in candidates(module, file, files):
            if content is not None and hashlib.sha256(content).hexdigest() == files.get(file):
                return content
        return None

    def candidates(module: str, file: str, files: Iterable[str]) -> Iterator[bytes | None]:
        yield _kept(kept, module, file, files)
        yield _committed(was, module, file)

    return read


def _kept(kept: Path | None, module: str, file: str, files: Iterable[str]) -> bytes | None:
    path = kept / _place(module, file, files) if kept else None
    return path.read_bytes() if path is not None and path.is_file() else None


def _committed(was: Code, module: str, file: str) -> bytes | None:
    root = code.source_root(module)
    return code.committed(root, was.commit, file) if root and was.commit else None


def installed() -> Read:
    """Reads files as they are today; which ones there are is looked up once for each package."""
    source_files = cache(code.source_files)

    def read(module: str, file: str) -> bytes | None:
        path = source_files(module).get(file)
        return path.read_bytes() if path is not None else None

    return read


def source_changes(before: Code, after: Code, was: Read, is_now: Read) -> SourceChanges:
    """What changed in the files of both codes' packages, as far as they can be read."""
    return SourceChanges(
        _changed_lines(before, after, was, is_now), without_effect(before, after, was, is_now)
    )


def _changed_lines(before: Code, after: Code, was: Read, is_now: Read) -> list[str]:
    lines: list[str] = []
    for name, file in code.changed_files(before, after):
        texts = [_text(read(name, file)) for read in (was, is_now)]
        shown = code.shown(name, file)
        known = [
            text is not None or file not in each.files(name)
            for text, each in zip(texts, (before, after), strict=True)
        ]
        if all(known):
            old, new = ((text or "").splitlines() for text in texts)
            names = (f"{shown} (recorded)", f"{shown} (today)")
            lines += difflib.unified_diff(old, new, *names, lineterm="")
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"… and {len(lines) - MAX_LINES:,} more lines"]
    return lines


def without_effect(before: Code, after: Code, was: Read, is_now: Read) -> frozenset[str]:
    """The changed files of use cases in which nothing changed that a training depends on."""
    names = (before.packages.keys() & after.packages.keys()) - set(OWN_PACKAGES)
    return frozenset().union(*(_without_effect(name, before, after, was, is_now) for name in names))


def _without_effect(name: str, before: Code, after: Code, was: Read, is_now: Read) -> set[str]:
    trees = []
    for each, read in ((before, was), (after, is_now)):
        parsed = {}
        for file, sha256 in each.packages[name].files.items():
            other = after if each is before else before
            unchanged = other.packages[name].files.get(file) == sha256
            content = is_now(name, file) if unchanged else read(name, file)
            if file.endswith(".py") and (tree := _tree(content)) is not None:
                parsed[file] = tree
        trees.append(parsed)
    old, new = (_Without(_bars(parsed.values())).dumps(parsed) for parsed in trees)
    changed = {file for package, file in code.changed_files(before, after) if package == name}
    return {
        code.shown(name, file)
        for file in changed & old.keys() & new.keys()
        if old[file] == new[file]
    }


def _bars(trees: Iterable[ast.Module]) -> set[str]:
    """The names that are nothing but what decides no model: `acceptance=model.ACCEPTANCE`."""
    named: list[str] = []
    used: list[str] = []
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _name(node.func) == "UseCase":
                given = [one.value for one in node.keywords if one.arg in _BARS]
                named += filter(None, map(_name, given))
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
                used += filter(None, [_name(node)])
    return {name for name in named if used.count(name) == named.count(name)}


def _name(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else None


class _Without(ast.NodeTransformer):
    """Removes from a tree what decides no model."""

    def __init__(self, bars: set[str]) -> None:
        self._bars = bars

    def dumps(self, trees: Mapping[str, ast.Module]) -> dict[str, str]:
        """What is left of each tree, as text."""
        return {file: ast.dump(self.visit(tree)) for file, tree in trees.items()}

    def visit_Call(self, node: ast.Call) -> ast.AST:
        # Other calls have arguments of these names too: `fillna(value=0)`.
        if _name(node.func) == "UseCase":
            node.keywords = [one for one in node.keywords if one.arg not in _BARS]
        return self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        if node.module in _BAR_MODULES:
            node.names = [one for one in node.names if one.name not in _BAR_CLASSES]
        return node if node.names else None

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        names = {_name(target) for target in node.targets}
        return None if names <= self._bars else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return None if _name(node.target) in self._bars else self.generic_visit(node)


def _tree(content: bytes | None) -> ast.Module | None:
    try:
        return ast.parse(content) if content is not None else None
    except (SyntaxError, ValueError):
        return None


def _text(content: bytes | None) -> str | None:
    try:
        return content.decode() if content is not None else None
    except UnicodeDecodeError:
        return None
