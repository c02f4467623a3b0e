"""The pages of documentation: their commands are the program's, their reference is the code's."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

from streamflow import use_case
from streamflow.cli.main import app
from streamflow.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PROGRAM: Any = get_command(app)
_OPERATORS = {"|", "||", "&&", ";", ">", ">>", "<", "&", "2>&1"}
# The program by its name, in a shell of its own, or as the command of one of the stack's services.
_PROGRAM = re.compile(
    r"(?:(?:\w+=\S* )*(?:\.venv/bin/|-m )?streamflow (?=[a-z])"
    r"|docker compose run (?:--rm |--volume \S+ )*(?:backup|forget|pipeline) (?=[a-z]))(.*)"
)


def command_lines(page: Path) -> Iterator[tuple[int, list[str]]]:
    """The words after `streamflow` of each command in the page's blocks of code, and of each that
    is quoted in a sentence, with its line."""
    inside, held = False, ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            inside, held = not inside, ""
            continue
        if not inside and not line.startswith("    "):
            for quoted in re.findall(r"`([^`]+)`", line):
                yield from ((number, words) for words in _of_program(quoted))
            continue
        text = held + line.strip().removeprefix("$ ")
        if text.endswith("\\"):
            held = text[:-1]
            continue
        held = ""
        yield from ((number, words) for words in _of_program(text))


def _of_program(text: str) -> Iterator[list[str]]:
    """The words after the program's name, if the text is such a command."""
    found = _PROGRAM.match(text)
    if found is None:
        return
    try:
        words = shlex.split(found[1], comments=True)
    except ValueError:  # a sentence, or output
        return
    ends = [place for place, word in enumerate(words) if word in _OPERATORS]
    words = words[: ends[0]] if ends else words
    # What may follow, or the value of an option.
    if words[-1] == "…" and not (len(words) > 1 and words[-2].startswith("-")):
        words.pop()
    if words:
        yield words


ALL = [
    pytest.param(words, id=f"{page.relative_to(ROOT)}:{number}")
    for page in PAGES
    for number, words in command_lines(page)
]


def test_there_are_commands_on_the_pages() -> None:
    assert len(ALL) > 40


@pytest.mark.parametrize("words", ALL)
def test_a_command_on_a_page_is_one_that_the_program_takes(words: list[str]) -> None:
    group = PROGRAM
    rest = list(words)
    while hasattr(group, "commands"):
        if not rest:
            return  # a group of commands is spoken of
        name = rest.pop(0)
        assert name in group.commands, f"streamflow {name}"
        group = group.commands[name]
    with group.context_class(group, info_name=words[0]) as context:
        _, left, _ = group.make_parser(context).parse_args(rest)
    assert not left, f"streamflow {' '.join(words)} has too many arguments"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = util.spec_from_file_location("reference_pages", ROOT / "docs" / "reference_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def headings(text: str) -> set[str]:
    return set(re.findall(r"^## `(.*)`$", text, re.MULTILINE))


def test_the_reference_has_every_setting_command_class_and_route(reference: ModuleType) -> None:
    variables = {f"STREAMFLOW_{name.upper()}" for name in Settings.model_fields}
    assert headings(reference.settings()) == variables
    commands = headings(reference.commands())
    assert {"streamflow ingest", "streamflow keys create", "streamflow training-set"} <= commands
    assert "{key}" not in reference.commands().lower()
    classes = headings(reference.use_case())
    assert {"Table", "UseCase", "Gates"} <= classes <= set(use_case.__all__)
    assert {"POST /predict", "GET /health"} <= headings(reference.http())


@pytest.mark.slow
def test_the_pages_are_built_without_a_warning_and_load_nothing_from_elsewhere(
    tmp_path: Path,
) -> None:
    command = ("sphinx", "--quiet", "--fail-on-warning", "-b", "html", "docs", str(tmp_path))
    built = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="https?:', text), (
            page
        )
