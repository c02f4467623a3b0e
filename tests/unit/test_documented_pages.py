"""Each command of the documentation is run by a test, or listed with the reason why not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from tests.documented import ROOT, Command, commands, not_run
from tests.documented_elsewhere import NOT_RUN, RUN_BY

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
E2E = sorted((ROOT / "tests" / "e2e").glob("test_documented_*.py"))


@pytest.mark.parametrize("page", PAGES)
def test_each_command_is_run_with_its_page_or_listed_with_a_reason(page: str) -> None:
    found = commands(ROOT / page)
    neither = [one for one in found if page not in RUN_BY and not_run(page, one) is None]
    assert [f"{page}:{one.line}: {one.text}" for one in neither] == []
    assert page not in RUN_BY or any(not_run(page, one) is None for one in found)


@pytest.mark.parametrize("page", NOT_RUN)
def test_what_is_listed_is_on_the_page_and_no_reason_is_left_over(page: str) -> None:
    found = commands(ROOT / page)
    for begun, reason in NOT_RUN[page].items():
        assert reason
        assert any(
            begun in ("", f"# {one.section}") or one.text.startswith(begun) for one in found
        ), f"{page} has no command {begun!r}"
        for name in re.findall(r"tests/\S+\.py", reason):
            assert (ROOT / name.rstrip(",")).exists(), name


def test_the_test_that_runs_a_page_names_it() -> None:
    tests = {
        one.name: ast.unparse(one)
        for file in E2E
        for one in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(one, ast.FunctionDef)
    }
    for page, test in RUN_BY.items():
        assert Path(page).name in tests[test], f"{test} doesn't run {page}"


def test_a_block_of_commands_without_prompts_is_read_too(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One\n\n    streamflow status\n    psql --command='SELECT 1,\n        2'\n\n"
        "      output\n\n- In a list:\n\n      $ streamflow up\n      it is up\n\n"
        "## Two\n\n```shell\nstreamflow runs\n```\n\n    STREAMFLOW_ENGINE=duckdb\n",
        encoding="utf-8",
    )
    assert commands(page) == [
        Command(3, "One", "streamflow status", []),
        Command(4, "One", "psql --command='SELECT 1,\n    2'", []),
        Command(11, "One", "streamflow up", ["  it is up"]),
        Command(17, "Two", "streamflow runs", []),
    ]
