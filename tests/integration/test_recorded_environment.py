"""A run made again where it was made: the recorded commit, and what its lock installs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from tests.git import commit, git

from streamflow.errors import EnvironmentNotRestored
from streamflow.lineage.code import Code, code, uncommitted
from streamflow.lineage.recorded_environment import checkout

ROOT = Path(__file__).parents[2]


def commit_all(folder: Path) -> str:
    git(folder, "add", "--all")
    return commit(folder)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with two commits of one file."""
    folder = tmp_path / "a repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for content in ("first\n", "second\n"):
        (folder / "file").write_text(content)
        commit_all(folder)
    return folder


def test_the_recorded_commit_is_checked_out_and_gone_afterwards(
    repository: Path, tmp_path: Path
) -> None:
    first = Code(git(repository, "rev-parse", "HEAD~1"), None, {})
    (repository / "file").write_text("being worked on\n")
    with checkout(first, None, tmp_path / "there", repository) as folder:
        assert (folder / "file").read_text() == "first\n"
        assert code([], folder) == first
    assert not (tmp_path / "there").exists()
    assert git(repository, "worktree", "list").count("\n") == 0
    assert (repository / "file").read_text() == "being worked on\n"


def test_what_wasnt_committed_is_there_again(repository: Path, tmp_path: Path) -> None:
    (repository / "file").write_text("changed\n")
    recorded, diff = code([], repository), tmp_path / "code.diff"
    diff.write_bytes(uncommitted(repository))
    git(repository, "checkout", "--quiet", ".")
    with checkout(recorded, diff, tmp_path / "there", repository) as folder:
        assert (folder / "file").read_text() == "changed\n"
        assert code([], folder) == recorded

    diff.write_bytes(diff.read_bytes() + b"\n")
    for gone in (diff, None):
        with (
            pytest.raises(EnvironmentNotRestored, match="wasn't committed"),
            checkout(recorded, gone, tmp_path / "there", repository),
        ):
            pass
    assert not (tmp_path / "there").exists()


def test_what_a_killed_one_left_in_git_is_pruned(repository: Path, tmp_path: Path) -> None:
    recorded = code([], repository)
    left = tmp_path / "left"
    git(repository, "worktree", "add", "--detach", str(left))
    shutil.rmtree(left)
    with checkout(recorded, None, tmp_path / "there", repository):
        assert git(repository, "worktree", "list").count("\n") == 1


@pytest.mark.parametrize(
    ("commit", "reason"), [(None, "outside of git"), ("0" * 40, "commit 000000000000 isn't in")]
)
def test_a_commit_that_cant_be_had_is_told(
    commit: str | None, reason: str, repository: Path, tmp_path: Path
) -> None:
    with (
        pytest.raises(EnvironmentNotRestored, match=reason),
        checkout(Code(commit, None, {}), None, tmp_path / "there", repository),
    ):
        pass


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The project in a git of its own, all of it committed."""
    if not os.environ.get("STREAMFLOW_TEST_RECORDED_ENVIRONMENT"):
        pytest.skip(
            "installs packages for minutes: set STREAMFLOW_TEST_RECORDED_ENVIRONMENT=1 to run it"
        )
    folder = tmp_path / "a clone"
    listed = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    commit_all(folder)
    return folder


def factors(answer: dict[str, Any]) -> dict[str, bool]:
    return {one["name"]: one["same"] for one in answer["factors"]}


RunCommand = Callable[..., Any]


@pytest.fixture
def streamflow(clone: Path, environment: dict[str, str], tmp_path: Path) -> RunCommand:
    """What `streamflow … --json` of the clone answers, however long that takes."""

    def answer(
        *arguments: str, code: int | None = 0, python: str = sys.executable, path: str = ""
    ) -> Any:
        done = subprocess.run(
            [python, "-m", "streamflow", *arguments, "--json"],
            env={**environment, "PYTHONPATH": os.pathsep.join([str(clone / "src"), path])},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert code in (None, done.returncode), done.stdout + done.stderr
        return json.loads(done.stdout)

    return answer


def test_a_run_comes_out_identical_in_its_recorded_environment_and_not_in_todays(
    clone: Path, streamflow: RunCommand, tmp_path: Path
) -> None:
    streamflow("generate", "data", "--users", "300", "--months", "1")
    streamflow("ingest", "data/month_000", "--as-of", "2024-01-31")
    streamflow("apply")
    recorded = git(clone, "rev-parse", "HEAD")
    streamflow("train", "--as-of", "2024-01-31")
    model = clone / "src" / "churn" / "model.py"
    model.write_text(model.read_text().replace("n_estimators=200", "n_estimators=150"))
    today = commit_all(clone)
    pretended = tmp_path / "pretended" / "numpy-1.0.dist-info" / "METADATA"
    pretended.parent.mkdir(parents=True)
    pretended.write_text("Name: numpy\nVersion: 1.0\n\n")

    here = streamflow("reproduce", "1", code=1, path=str(pretended.parents[1]))
    assert [name for name, same in factors(here).items() if not same] == [
        *("code", "environment", "configuration", "model")
    ]
    assert here["factors"][1]["said"] == [
        f"commit {recorded[:7]} → {today[:7]}, 1 file: churn/model.py"
    ]
    there = streamflow("reproduce", "1", "--in-recorded-environment")
    assert there["verdict"] == "identical"
    assert all(factors(there).values())
    assert git(clone, "worktree", "list").count("\n") == 0


def test_a_library_that_is_really_another_version_is_named(
    streamflow: RunCommand, tmp_path: Path
) -> None:
    """Trained in a second virtual environment: this one's packages behind another scikit-learn."""
    another = tmp_path / "another"
    python = str(another / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", str(another)], check=True)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "scikit-learn==1.8.0"], check=True
    )
    (packages,) = another.glob("lib/python*/site-packages")
    (packages / "the_rest.pth").write_text(sysconfig.get_path("purelib") + "\n")
    streamflow("generate", "data", "--users", "300", "--months", "1")
    streamflow("ingest", "data/month_000", "--as-of", "2024-01-31")
    streamflow("apply")
    streamflow("train", "--as-of", "2024-01-31", python=python)
    assert streamflow("reproduce", "1", python=python)["verdict"] == "identical"

    # Whether both make the same forest is theirs to say.
    here = streamflow("reproduce", "1", code=None)
    assert [name for name, same in factors(here).items() if not same][:1] == ["environment"]
    said = here["factors"][2]["said"][0]
    assert said == f"scikit-learn 1.8.0 → {metadata.version('scikit-learn')}"
