"""A stranger's files become a served score by `init` alone; no file is touched by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e import forked
from tests.odd_months import ODD_MONTHS, Found
from tests.raw_months import RAW_MONTHS, write_csv, write_raw_month

ENTITIES = 400


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    RAW_MONTHS,
)
def test_a_strangers_month_becomes_a_score_by_init_alone(
    name: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    month = write_raw_month(name, tmp_path, ENTITIES)
    environment = {**environment, "PYTHONPATH": str(tmp_path)}

    def streamflow(*arguments: str, **variables: str) -> Any:
        done = forked.run((*arguments, "--json"), environment | variables, tmp_path)
        assert done.returncode == 0, done.stdout
        return json.loads(done.stdout)

    made = streamflow("init", str(month), "--name", "stranger", "--yes")
    of_it = {"STREAMFLOW_USE_CASE": "stranger"}
    why = ("--to", "production", "--why", "the first")
    promoted = streamflow("promote", str(made["version"]), *why, **of_it)
    assert promoted["changed"]
    # So few rows may not tell how good a model is: then that is recorded, and nothing failed.
    assert all(
        one["outcome"] == "passed" or "the first version" in one["override"]
        for one in promoted["report"]["gates"]
    )
    entity = {"bank": "000007", "machines": "1007", "shops": "shop-7"}.get(
        name, "s7" if name == "students" else "0007-ABC"
    )
    answer = streamflow("predict", entity, **of_it)
    assert answer[made["join_key"]] == entity
    assert 0 <= answer["probability"] <= 1
    # Again on the same month: it is as the package has it, and nothing is done.
    assert streamflow("init", str(month), "--name", "stranger", "--yes") == {"changes": []}


@pytest.mark.slow
@pytest.mark.parametrize("write", ODD_MONTHS, ids=lambda one: one.__name__)
def test_an_odd_month_becomes_a_score_by_init_alone(
    write: Callable[[Path], Found], tmp_path: Path, environment: dict[str, str]
) -> None:
    month = tmp_path / "month"
    month.mkdir()
    expected = write(month)
    environment = {**environment, "PYTHONPATH": str(tmp_path)}

    def streamflow(*arguments: str, **variables: str) -> Any:
        done = forked.run((*arguments, "--json"), environment | variables, tmp_path)
        assert done.returncode == 0, done.stdout
        return json.loads(done.stdout)

    made = streamflow("init", str(month), "--name", "stranger", "--yes")
    assert (made["join_key"], made["label"]) == (expected.key, expected.label)
    of_it = {"STREAMFLOW_USE_CASE": "stranger"}
    why = ("--to", "production", "--why", "the first")
    assert streamflow("promote", str(made["version"]), *why, **of_it)["changed"]
    answer = streamflow("predict", expected.entity, **of_it)
    assert answer[made["join_key"]] == expected.entity
    assert 0 <= answer["probability"] <= 1
    # A table that was left out is told again as a file that the package hasn't.
    again = streamflow("init", str(month), "--name", "stranger", "--yes")["changes"]
    assert [one for one in again if one["what"] != "a new file"] == []


@pytest.mark.slow
def test_of_moments_that_may_be_meant_in_two_ways_it_says_what_to_type_and_that_works(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    month = tmp_path / "month"
    month.mkdir()
    members = [[f"m{n}", 20 + n % 40, n % 3 == 0] for n in range(90)]
    visits = [[f"m{n % 90}", f"{1 + n % 12:02}/01/2024 10:15", n % 7] for n in range(300)]
    write_csv(month / "members.csv", [["member_id", "age", "left"], *members])
    write_csv(month / "visits.csv", [["member_id", "at", "minutes"], *visits])

    def init(*arguments: str) -> Any:
        options = ("--as-of", "2024-12-31", "--yes", "--json")
        done = forked.run(("init", str(month), *options, *arguments), environment, tmp_path)
        assert done.returncode == 0, done.stdout
        return json.loads(done.stdout)

    (note,) = [one for one in init("--name", "first")["notes"] if one.startswith("visits")]
    (said, line), _ = re.findall(r"(--date \S+), which writes (read=\S+?)(?:,|$)", note)
    made = init("--name", "second", *said.split())
    (note,) = [one for one in made["notes"] if one.startswith("visits")]
    assert "so they are events, each at its at" in note
    assert f"            {line},\n" in (tmp_path / "second" / "tables.py").read_text("utf-8")


def test_without_a_terminal_the_questions_are_said_on_the_command_line(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    month = write_raw_month("telecom", tmp_path)
    done = forked.run(("init", str(month), "--name", "stranger"), environment, tmp_path)
    assert done.returncode == 2
    assert "--yes" in done.stdout
    assert not (tmp_path / "stranger").exists()
