from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import time

import pytest

from streamflow.scratch import replacement, scratch


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_when_it_is_complete(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("before")
    with replacement(file) as temporary:
        temporary.write_text("after")
        assert file.read_text() == "before"
        assert temporary.parent == tmp_path
    assert (names(tmp_path), file.read_text()) == (["a.csv"], "after")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_what_was_there(tmp_path, error):
    file = tmp_path / "a.csv"
    file.write_text("before")
    with pytest.raises(error), replacement(file) as temporary:
        temporary.write_text("half")
        raise error
    assert (names(tmp_path), file.read_text()) == (["a.csv"], "before")


def test_a_new_file_is_its_user_s_alone_and_an_old_one_keeps_its_mode(tmp_path):
    for mode in (0o600, 0o644):
        with replacement(tmp_path / "a") as temporary:
            assert stat.S_IMODE(temporary.stat().st_mode) == mode
        (tmp_path / "a").chmod(0o644)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/a")
    with replacement(tmp_path / "link") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "a").read_text() == "x"


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("mine")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write all
    with pytest.raises(PermissionError), replacement(tmp_path / "a"):
        pass
    assert (names(tmp_path), (tmp_path / "a").read_text()) == (["a"], "mine")


def test_two_at_once_leave_each_other_alone(tmp_path):
    with replacement(tmp_path / "a") as first:
        first.write_text("first")
        with replacement(tmp_path / "a") as second:
            second.write_text("second")
            assert first.read_text() == "first"
    assert (names(tmp_path), (tmp_path / "a").read_text()) == (["a"], "first")


KILLED = """
import sys, time
from pathlib import Path
from streamflow.scratch import replacement
with replacement(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    time.sleep(600)
"""


@pytest.mark.parametrize("name", ["a.csv", "[a]*.csv"])
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, name):
    (tmp_path / f".{name}.mine").write_text("mine")
    (tmp_path / ".b.csv.1.partial").write_text("mine")
    with subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / name]) as process:
        while not [path for path in tmp_path.iterdir() if path.read_text() == "half"]:
            assert process.poll() is None
            time.sleep(0.01)
        with replacement(tmp_path / name):
            pass  # it isn't touched while it is written
        assert len(names(tmp_path)) == 4
        process.kill()
    with replacement(tmp_path / name):
        pass
    assert names(tmp_path) == sorted([f".{name}.mine", ".b.csv.1.partial", name])


def test_a_folder_whose_killed_process_s_program_holds_its_lock_is_removed_by_the_same_command(
    tmp_path,
):
    folders = tmp_path / "folders"
    killed = folders / "killed"
    killed.mkdir(parents=True)
    program = os.open(killed, os.O_RDONLY)
    fcntl.flock(program, fcntl.LOCK_EX)
    with scratch(folders) as own:
        assert names(folders) == sorted(["killed", own.name])
        os.close(program)
    assert names(folders) == []


def test_another_s_folder_stays_when_one_ends(tmp_path):
    with scratch(tmp_path / "folders") as first:
        with scratch(tmp_path / "folders"):
            pass
        assert first.is_dir()
    assert names(tmp_path / "folders") == []
