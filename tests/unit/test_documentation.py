"""README and docs/architecture.md say what the code says: settings, commands, rooms and files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import streamflow
from streamflow.cli.command import KEY_IN_CAPITALS
from streamflow.cli.main import app
from streamflow.settings import Settings

ROOT = Path(__file__).parents[2]
SOURCE = Path(streamflow.__file__).parent
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def readme_table(heading: str) -> list[list[str]]:
    """The cells of the first table below the README's heading, without the table's head."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert len(lines) > 2, f"The README has no table of {heading}."
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


SETTINGS = {row[0].strip("`"): row[1] for row in readme_table("Settings")}
FIELDS = {f"STREAMFLOW_{name.upper()}": name for name in Settings.model_fields}


def test_each_setting_has_one_line_in_the_readme_and_no_other_has() -> None:
    assert set(SETTINGS) == set(FIELDS)
    assert len(readme_table("Settings")) == len(FIELDS)


@pytest.mark.parametrize("variable", sorted(FIELDS))
def test_the_readme_names_the_default(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # away from a .env
    for other in FIELDS:
        monkeypatch.delenv(other, raising=False)
    default = getattr(Settings(), FIELDS[variable])
    text = SETTINGS[variable]
    if text.startswith("`"):
        monkeypatch.setenv(variable, text.strip("`"))
        assert getattr(Settings(), FIELDS[variable]) == default
    else:  # nothing, or words: what happens without a value
        assert default in (None, {})


def commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that is registered, by the words that are typed for it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


COMMANDS = dict(commands(get_command(app)))
ROWS = readme_table("Commands")


def usages(cell: str) -> list[tuple[str, list[str]]]:
    """Each command in backticks, with the arguments that follow it."""
    found = []
    for text in re.findall(r"`([^`]+)`", cell):
        words = text.partition(" --")[0].split()
        name = " ".join(word for word in words if word.islower())
        found.append((name, [word for word in words if not word.islower()]))
    return found


def test_each_command_has_one_place_in_the_readme_and_no_other_has() -> None:
    listed = [name for row in ROWS for name, _ in usages(row[0])]
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_arguments_and_options_in_the_readme_exist(row: list[str]) -> None:
    options: set[str] = set()
    for name, arguments in usages(row[0]):
        parameters = COMMANDS[name].params
        options |= {option for parameter in parameters for option in parameter.opts}
        taken = [
            (parameter.metavar or parameter.name).replace(KEY_IN_CAPITALS, "USER_ID").upper()
            for parameter in parameters
            if parameter.param_type_name == "argument"
        ]
        assert arguments == taken[: len(arguments)], name
    assert set(re.findall(r"--[a-z][a-z-]*", " ".join(row))) <= options


def test_every_room_and_top_module_is_in_the_architecture() -> None:
    rooms = {f"{path.parent.name}/" for path in SOURCE.glob("*/__init__.py")}
    modules = {path.name for path in SOURCE.glob("*.py") if not path.name.startswith("__")}
    named = set(re.findall(r"`([^`\s]+)`", ARCHITECTURE))
    assert rooms - named == set()
    assert modules - named == set()


def test_what_the_architecture_names_exists() -> None:
    named = set(re.findall(r"`([\w./-]*(?:/|\.(?:py|md|sql|yml|json|toml)))`", ARCHITECTURE))
    named |= set(re.findall(r"`((?:src|tests|docs|bench|deploy)/[\w./-]+)`", ARCHITECTURE))
    assert len(named) > 50
    places = (ROOT, SOURCE, ROOT / "docs")
    missing = {name for name in named if not any((place / name).exists() for place in places)}
    assert missing == set()
