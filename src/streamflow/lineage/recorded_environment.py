"""Reproduce a run in its recorded environment: the recorded commit and the recorded lock file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamflow.errors import EnvironmentNotRestored
from streamflow.lineage import recorded_run
from streamflow.lineage.code import DIFF_FILE, Code
from streamflow.lineage.environment import Environment
from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.registry.records import Run
from streamflow.scratch import scratch

LOCK = "requirements.lock"


def reproduce(platform: Platform, run: Run, progress: Progress = silent) -> dict[str, object]:
    """The output of `streamflow reproduce RUN --json` in the recorded environment.

    Raises EnvironmentNotRestored, NoLineage.
    """
    with scratch(platform.settings.scratch) as folder:
        recorded = recorded_run.read(platform.registry, run, folder / "recorded").lineage
        diff = platform.registry.artifact(run.run_id, DIFF_FILE, folder)
        with checkout(recorded.code, diff, folder / "checkout") as sources:
            python = _install(recorded.environment, sources, folder / "venv", progress)
            progress("reproduce in the recorded environment")
            completed = subprocess.run(
                [str(python), "-P", "-m", "streamflow", "reproduce", run.run_id, "--json"],
                env=_variables(platform, sources),
                capture_output=True,
                text=True,
            )
    try:
        result: dict[str, object] = json.loads(completed.stdout)
    except json.JSONDecodeError as error:
        raise EnvironmentNotRestored(
            "In the recorded environment, `streamflow reproduce` fails: "
            f"{_last_line(completed.stderr)}",
            "Check out the recorded commit, and run `streamflow reproduce` there.",
        ) from error
    if "error" in result:
        raise EnvironmentNotRestored(str(result["message"]), str(result["next"]))
    return result


@contextmanager
def checkout(
    recorded: Code, diff: Path | None, folder: Path, here: Path = Path(__file__).parent
) -> Iterator[Path]:
    """Check out the recorded commit in `folder` and apply `diff`, its uncommitted changes.

    `folder` is a git worktree of the repository of `here`, and is removed afterwards.
    Raises EnvironmentNotRestored.
    """
    commit = recorded.commit
    if commit is None:
        raise EnvironmentNotRestored(
            "The run was trained outside of git, so its code can't be checked out.",
            "Install the StreamFlow that trained it, and run `streamflow reproduce` there.",
        )
    if _git(here, "cat-file", "-e", f"{commit}^{{commit}}").returncode != 0:
        raise EnvironmentNotRestored(
            f"The recorded commit {commit[:12]} isn't in the git of {here}.",
            "Fetch it, or run `streamflow reproduce` in a checkout that has it.",
        )
    # A killed command may have left worktrees whose folders don't exist any more.
    _git(here, "worktree", "prune")
    _check(_git(here, "worktree", "add", "--detach", "--force", str(folder), commit))
    try:
        if recorded.diff_hash is not None:
            _apply(recorded.diff_hash, diff, folder)
        yield folder
    finally:
        _git(here, "worktree", "remove", "--force", str(folder))


def _apply(diff_hash: str, diff: Path | None, checkout: Path) -> None:
    if diff is None or _hash(diff) != diff_hash:
        raise EnvironmentNotRestored(
            f"What wasn't committed at the training isn't stored with the run ({DIFF_FILE}).",
            "This run's code is lost. Commit before you train.",
        )
    _check(_git(checkout, "apply", "--whitespace=nowarn", str(diff)))


def _install(recorded: Environment, checkout: Path, folder: Path, progress: Progress) -> Path:
    """Install the recorded lock and the checkout in a virtual environment; returns its Python."""
    lock = checkout / LOCK
    if not lock.is_file() or _hash(lock) != recorded.lock_hash:
        raise EnvironmentNotRestored(
            f"The recorded commit's {LOCK} isn't the one of the training.",
            "Compare `environment` in the run's lineage.json with what is installed.",
        )
    progress("virtual environment")
    major_minor = ".".join(recorded.python.split(".")[:2])
    python = shutil.which(f"python{major_minor}") or sys.executable
    _check(_run([python, "-m", "venv", str(folder)]))
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    progress("install the recorded lock")
    _check(_run([*pip, "--require-hashes", "--requirement", str(lock)]))
    _check(_run([*pip, "--no-deps", "--no-build-isolation", "--editable", str(checkout)]))
    return folder / "bin" / "python"


def _variables(platform: Platform, checkout: Path) -> dict[str, str]:
    """Environment variables: this database, registry and use case, but the checkout's code."""
    settings = platform.settings
    top = _git(Path(__file__).parent, "rev-parse", "--show-toplevel").stdout.strip()
    paths = [checkout / "src"]
    for entry in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        path = Path(entry).resolve()
        inside = path.is_relative_to(top)
        paths.append(checkout / path.relative_to(top) if inside else path)
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(path) for path in dict.fromkeys(paths)),
        "STREAMFLOW_HOME": str(settings.home),
        "STREAMFLOW_DATABASE_URL": platform.database.url,
        "STREAMFLOW_USE_CASE": settings.use_case,
    }
    if settings.mlflow_tracking_uri is not None:
        variables["STREAMFLOW_MLFLOW_TRACKING_URI"] = settings.mlflow_tracking_uri
    return variables


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return _run(["git", "-C", str(folder), *arguments])


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)


def _check(completed: subprocess.CompletedProcess[str]) -> None:
    if completed.returncode != 0:
        command = " ".join(Path(part).name for part in completed.args[:4])
        raise EnvironmentNotRestored(
            f"The recorded environment can't be created: `{command} …` fails: "
            f"{_last_line(completed.stderr)}",
            "Create it by hand from the recorded commit and its lock file.",
        )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing."


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
