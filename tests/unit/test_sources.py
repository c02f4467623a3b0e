"""The source of a use case that git doesn't have: kept with its run, shown when it changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.git import commit, git

from streamflow.lineage import code, sources
from streamflow.lineage.code import Code
from streamflow.lineage.sources import MAX_LINES, SourceChanges, source_changes

INIT = """from a_case import model
from streamflow.use_case import UseCase

use_case = UseCase(name="a", models=model.MODELS, acceptance=model.BAR)
"""
GATED = INIT.replace("import UseCase", "import Gates, UseCase").replace(
    "BAR)", "BAR, gates=Gates(approval=True))"
)
VALUED = INIT.replace("import UseCase", "import UseCase, Value").replace(
    "BAR)", 'BAR, value=Value(each=100.0), risk_bands={"high": 0.5})'
)
MODEL = """BAR = {"auc": 0.7}
MODELS = {"one": lambda state: ("trees", 100, state)}
"""


class Case:
    """A use case outside of git, and what was kept of it."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "a_case"
        self.kept = home / "artifacts"
        self.folder.mkdir()
        self.kept.mkdir()
        self.write("__init__.py", INIT)
        self.write("model.py", MODEL)

    def write(self, file: str, text: str) -> None:
        (self.folder / file).write_text(text, encoding="utf-8")

    def code(self) -> Code:
        return code.code(["a_case"], self.folder)

    def artifact(self, run_id: str, name: str, folder: Path) -> Path | None:
        """As the registry gives it."""
        return self.kept / name if (self.kept / name).is_dir() else None

    def changes(self, was: Code) -> SourceChanges:
        read = sources.recorded(self, "a run", was, self.folder)  # type: ignore[arg-type]
        return source_changes(was, self.code(), read, sources.installed())


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return Case(tmp_path)


def test_what_changed_is_shown_line_by_line(case: Case) -> None:
    was = case.code()
    sources.keep("a_case", case.kept)
    assert case.changes(was) == SourceChanges([], frozenset())
    case.write("model.py", MODEL.replace("100", "200"))
    case.write("new.py", "added = 1\n")
    found = case.changes(was)
    assert found.without_effect == frozenset()
    assert found.lines[:3] == [
        "--- a_case/model.py (recorded)",
        "+++ a_case/model.py (today)",
        "@@ -1,2 +1,2 @@",
    ]
    assert '-MODELS = {"one": lambda state: ("trees", 100, state)}' in found.lines
    assert '+MODELS = {"one": lambda state: ("trees", 200, state)}' in found.lines
    assert "+added = 1" in found.lines


def test_without_what_was_kept_nothing_is_shown_and_nothing_invented(case: Case) -> None:
    was = case.code()
    case.write("model.py", MODEL.replace("100", "200"))
    assert case.changes(was).lines == []
    # What is there isn't what the hash says.
    sources.keep("a_case", case.kept)
    assert case.changes(was).lines == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("model.py", MODEL.replace("0.7", "0.9")),
        ("model.py", MODEL.replace('BAR = {"auc": 0.7}', "BAR: dict = {}")),
        ("model.py", "# A comment.\n" + MODEL),
        ("__init__.py", INIT.replace("model.BAR", '{"auc": 0.5}')),
        ("__init__.py", GATED),
        ("__init__.py", VALUED),
    ],
)
def test_a_changed_acceptance_bar_is_no_changed_code(case: Case, file: str, text: str) -> None:
    was = case.code()
    sources.keep("a_case", case.kept)
    case.write(file, text)
    found = case.changes(was)
    assert found.without_effect == {f"a_case/{file}"}
    assert found.lines


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("model.py", MODEL.replace("0.7", "0.9").replace("100", "200")),
        ("model.py", MODEL + "\nmore = 1\n"),
        ("model.py", MODEL.replace("100", "int(value=3)")),
        ("__init__.py", INIT.replace('name="a"', 'name="b"')),
        ("model.py", "not python ("),
    ],
)
def test_any_other_change_is_one(case: Case, file: str, text: str) -> None:
    was = case.code()
    sources.keep("a_case", case.kept)
    case.write(file, text)
    assert case.changes(was).without_effect == frozenset()


def test_an_argument_of_another_call_that_is_named_like_a_bar_is_code(case: Case) -> None:
    case.write("model.py", MODEL.replace("100", "fill(value=0)"))
    was = case.code()
    sources.keep("a_case", case.kept)
    case.write("model.py", MODEL.replace("100", "fill(value=1)"))
    assert case.changes(was).without_effect == frozenset()


def test_a_bar_that_the_model_is_made_with_is_code(case: Case) -> None:
    case.write("model.py", MODEL.replace("100", 'BAR["auc"]'))
    was = case.code()
    sources.keep("a_case", case.kept)
    case.write("model.py", MODEL.replace("100", 'BAR["auc"]').replace("0.7", "0.9"))
    assert case.changes(was).without_effect == frozenset()


def test_a_long_difference_is_cut_and_data_isnt_source(case: Case) -> None:
    was = case.code()
    case.write("large.csv", "1\n" * 200_000)
    sources.keep("a_case", case.kept)
    assert not list(case.kept.rglob("large.csv"))
    case.write("model.py", "".join(f"line_{number} = 1\n" for number in range(1000)))
    found = case.changes(was)
    assert len(found.lines) == MAX_LINES + 1
    assert found.lines[-1].endswith("more lines")


@pytest.fixture
def checkout(case: Case) -> Path:
    """A git checkout with one commit of the case."""
    folder = case.folder.parent
    git(folder, "init", "--quiet")
    (folder / ".gitignore").write_text("a_case/secret.py\n")
    git(folder, "add", "a_case", ".gitignore")
    commit(folder)
    return folder


def test_what_the_commit_has_is_read_from_it(case: Case, checkout: Path) -> None:
    files = code.source_files("a_case")
    assert code.is_committed(files.values(), case.folder)
    was = case.code()
    case.write("model.py", MODEL.replace("100", "200"))
    assert not code.is_committed(files.values(), case.folder)
    assert any("200" in line for line in case.changes(was).lines)


@pytest.mark.parametrize("file", ["untracked.py", "secret.py"])
def test_a_file_that_the_commit_lacks_is_noticed(case: Case, checkout: Path, file: str) -> None:
    case.write(file, "x = 1\n")
    assert not code.is_committed(code.source_files("a_case").values(), case.folder)


def test_a_module_that_is_one_file_is_kept_where_it_is_imported_from(
    case: Case, tmp_path: Path
) -> None:
    (tmp_path / "single.py").write_text("use_case = 1\n")
    sources.keep("single", case.kept)
    assert [path.relative_to(case.kept).as_posix() for path in case.kept.rglob("*.py")] == [
        "use_case/single.py"
    ]
