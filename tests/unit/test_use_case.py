"""Finding a use case by the name of its module."""

from __future__ import annotations

from pathlib import Path

import pytest

import churn
from streamflow.errors import InvalidSettings
from streamflow.use_case import Table
from streamflow.use_case.module import load_use_case


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_use_case_is_found_by_its_modules_name() -> None:
    assert load_use_case("churn") is churn.use_case


def test_a_use_case_may_lie_in_a_package(modules: Path) -> None:
    (modules / "teams_of_ours").mkdir()
    (modules / "teams_of_ours" / "retention.py").write_text("from churn import use_case\n")
    assert load_use_case("teams_of_ours.retention") is churn.use_case


def test_a_module_that_isnt_there_is_named_with_the_setting() -> None:
    with pytest.raises(InvalidSettings, match=r"'not_there_at_all' can't be imported") as refused:
        load_use_case("not_there_at_all")
    assert "STREAMFLOW_USE_CASE" in refused.value.next


def test_what_a_module_itself_cant_import_is_named(modules: Path) -> None:
    (modules / "needs_more.py").write_text("import a_library_that_isnt_there\n")
    with pytest.raises(InvalidSettings, match="a_library_that_isnt_there"):
        load_use_case("needs_more")


@pytest.mark.parametrize("content", ["", "use_case = 'churn'\n", "usecase = None\n"])
def test_a_module_without_a_use_case_is_refused(content: str, modules: Path) -> None:
    name = f"without_{abs(hash(content))}"
    (modules / f"{name}.py").write_text(content)
    with pytest.raises(InvalidSettings, match="no `use_case`"):
        load_use_case(name)


@pytest.mark.parametrize("path", ["", ".", ".churn", "churn.", "churn:use_case", "churn/model.py"])
def test_what_cant_be_a_modules_name_is_refused(path: str) -> None:
    with pytest.raises(InvalidSettings):
        load_use_case(path)


def test_history_is_named_after_its_table() -> None:
    assert Table("users", contract=None).history == "users_history"


def test_the_churn_use_case_agrees_with_itself() -> None:
    tables = {table.name: table.contract for table in churn.use_case.tables()}
    assert churn.use_case.entity_table in tables
    assert churn.use_case.label.column in tables[churn.use_case.label.table].columns
    assert all(churn.use_case.join_key in contract.columns for contract in tables.values())
    assert churn.use_case.default_model in churn.use_case.models
