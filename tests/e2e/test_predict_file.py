"""`streamflow predict --file`: a line per id with its answer, as the API would give it, or why not.

One small platform is prepared; no test changes it.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_case

from streamflow.bootstrap import platform, production_predictor
from streamflow.cli.main import main
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.pipeline.predict import predict
from streamflow.platform import Platform
from streamflow.promotion import promote
from streamflow.settings import Settings, load_settings
from streamflow.use_case import Generation

USERS = 300
JANUARY = date(2024, 1, 31)
KNOWN = datetime(2024, 2, 1, 8, tzinfo=UTC)
NOW = datetime(2024, 3, 1, 8, tzinfo=UTC)
HEADER = [
    *("machine_id", "prediction", "probability", "model_version", "run_id"),
    *("features_as_of", "problem"),
]
# `m-0004` has no readings, so that features of it are missing.
INCOMPLETE = "m-0004"

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def prepared(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """A month of machines online, and a model of them in Production."""
    home = tmp_path_factory.mktemp("a home")
    tiny_case.generate(Generation(home / "months", users=USERS, months=1, seed=5))
    month = home / "months" / "month_000"
    readings = (month / "readings.csv").read_text().splitlines(keepends=True)
    kept = [line for line in readings if not line.startswith(INCOMPLETE)]
    (month / "readings.csv").write_text("".join(kept))
    url = new_database(prepared_database)
    settings = load_settings(home=home, database_url=url, use_case="tests.tiny_case")
    with platform(settings) as ready:
        ingest(ready, month, JANUARY, None, KNOWN, "test")
        apply(ready)
        trained = train.train(ready, JANUARY, None, 1, NOW)
        promote.promote(ready, trained.version, "Production", "the first", "test", NOW)
        materialize(ready, JANUARY, NOW)
        yield ready


@pytest.fixture
def settings(prepared: Platform) -> Settings:
    """For `cli`."""
    return prepared.settings


def rows_of(text: str) -> list[dict[str, str]]:
    header, *rows = csv.reader(io.StringIO(text))
    assert header == HEADER
    return [dict(zip(header, row, strict=True)) for row in rows]


def done(cli: Cli, *arguments: str) -> str:
    ended = cli("predict", *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def refused(cli: Cli, *arguments: str) -> dict[str, Any]:
    ended = cli("predict", *arguments, "--json")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


def test_a_file_s_answers_are_those_that_each_id_has_alone(
    cli: Cli, prepared: Platform, tmp_path: Path
) -> None:
    ids = [f"m-{number:04}" for number in (7, 3, 7, 299)]
    asked = [*ids[:2], "nobody", INCOMPLETE, *ids[2:]]
    lines = "".join(f"{number},{one}\n" for number, one in enumerate(asked))
    (tmp_path / "ids.csv").write_text(f"number,machine_id\n{lines}")
    told = json.loads(done(cli, "--file", "ids.csv", "--output", "scores.csv", "--json"))
    assert told == {
        "output": "scores.csv",
        "ids": 6,
        "predicted": 4,
        "unknown_entity": 1,
        "missing_features": 1,
    }
    rows = rows_of((tmp_path / "scores.csv").read_text())
    assert [row["machine_id"] for row in rows] == asked
    assert [row["problem"] for row in rows] == [
        "",
        "",
        "unknown_entity",
        "missing_features",
        "",
        "",
    ]
    production = prepared.production.production()
    assert production is not None
    predictor = production_predictor(prepared)
    named = {(row["model_version"], row["run_id"]) for row in rows}
    assert named == {(str(production.version), production.run_id)}
    for entity_id, row in zip(asked, rows, strict=True):
        if row["problem"]:
            assert (row["prediction"], row["probability"], row["features_as_of"]) == ("", "", "")
            continue
        alone = predict(predictor, entity_id, NOW)
        assert int(row["prediction"]) == alone["prediction"]
        assert float(row["probability"]) == alone["probability"]
        assert row["features_as_of"] == alone["features_as_of"]


def test_thousands_of_ids_are_answered_in_order_on_standard_output(
    cli: Cli, tmp_path: Path
) -> None:
    asked = [f"m-{number % (USERS + 100):04}" for number in range(2_345)]
    (tmp_path / "ids").write_text("\n".join(asked))
    rows = rows_of(done(cli, "--file", "ids"))
    assert [row["machine_id"] for row in rows] == asked
    problems = Counter(row["problem"] for row in rows)
    unknown = sum(int(one[2:]) >= USERS for one in asked)
    incomplete = asked.count(INCOMPLETE)
    assert problems == {
        "": len(asked) - unknown - incomplete,
        "unknown_entity": unknown,
        "missing_features": incomplete,
    }
    told = {}
    for row in rows:
        assert told.setdefault(row["machine_id"], row) == row


def test_for_eyes_the_counts_are_told_in_a_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("m-0001\nnobody\n")
    told = done(cli, "--file", "ids", "--output", "scores.csv")
    assert told == "2 ids: 1 predicted, 1 unknown_entity. Written to scores.csv.\n"


def test_a_file_that_turns_out_to_be_bad_leaves_what_was_written_before(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "ids").write_text("m-0001\n" * 1_500 + "\tnone\n")
    (tmp_path / "scores.csv").write_text("from before")
    before = sorted(tmp_path.iterdir())
    told = refused(cli, "--file", "ids", "--output", "scores.csv")
    assert told["error"] == "unreadable_file"
    assert "line 1501" in told["message"]
    assert (tmp_path / "scores.csv").read_text() == "from before"
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_that_is_not_there_is_told_and_nothing_is_written(cli: Cli, tmp_path: Path) -> None:
    told = refused(cli, "--file", "nothing.csv", "--output", "scores.csv")
    assert told["error"] == "missing_files"
    assert list(tmp_path.iterdir()) == []
    ended = cli("predict", "--file", "nothing.csv")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "nothing.csv" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Give an id, or --file"),
        (("m-0001", "--file", "ids"), "Give an id, or --file"),
        (("m-0001", "--output", "scores.csv"), "--output goes with --file"),
        (("--file", "ids"), "--json with --file needs --output"),
        (("--file", "ids", "--output", "no folder/scores.csv"), "There is no folder"),
        (("--file", "ids", "--output", "."), "is a folder"),
        (("--file", "ids", "--output", "/proc/scores.csv"), "can't be written"),
    ],
)
def test_a_command_that_does_not_make_sense_is_told_so_before_anything_is_done(
    arguments: tuple[str, ...],
    told: str,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "ids").write_text("m-0001\n")
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["streamflow", "predict", *arguments, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    answer = json.loads(capsys.readouterr().out)
    assert (ended.value.code, answer["error"]) == (2, "usage")
    assert told in answer["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["ids"]
