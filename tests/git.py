"""A git repository for a test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NAMED = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")


def git(folder: Path, *arguments: str) -> str:
    """What git says in the folder; the test is skipped where there is no git."""
    if shutil.which("git") is None:
        pytest.skip("git isn't installed")
    done = subprocess.run(
        ["git", "-C", str(folder), *NAMED, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(folder: Path, message: str = "a commit") -> str:
    """The commit of what was added."""
    git(folder, "commit", "--quiet", "--no-gpg-sign", "--no-verify", "-m", message)
    return git(folder, "rev-parse", "HEAD")
