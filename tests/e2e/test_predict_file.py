"""`streamflow predict --file`: a line per id with its answer, as the API would give it, or why not.

One small platform is prepared; no test changes it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests import promoting, tiny_case

from streamflow.bootstrap import platform, production_predictor
from streamflow.cli.main import main
from streamflow.errors import NoAnswer
from streamflow.pipeline import id_file, train
from streamflow.pipeline import predict as step_predict
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.pipeline.predict import predict, predict_file
from streamflow.pipeline.prediction_file import csv_rows
from streamflow.platform import Platform
from streamflow.serving.columns import online_columns
from streamflow.serving.feast_online_store import FeastStore
from streamflow.serving.scoring import ScoringRequest
from streamflow.settings import Settings, load_settings
from streamflow.use_case import Generation

USERS = 300
JANUARY = date(2024, 1, 31)
KNOWN = datetime(2024, 2, 1, 8, tzinfo=UTC)
NOW = datetime(2024, 3, 1, 8, tzinfo=UTC)
HEADER = [
    *("machine_id", "prediction", "probability", "model_version", "run_id"),
    *("features_as_of", "problem", "warnings"),
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
        promoting.promote(ready, trained.version, "Production", "the first", "test", NOW)
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
    asked = [f"m-{number % (USERS + 100):04}" for number in range(12_345)]
    (tmp_path / "ids").write_text("\n".join(asked))
    rows = rows_of(done(cli, "--file", "ids", "--no-header"))
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


@pytest.mark.parametrize("by_columns", [True, False])
def test_columns_have_the_answers_of_rows_in_the_order_of_the_file(
    prepared: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_columns: bool
) -> None:
    monkeypatch.setattr(id_file, "_CHUNK_SIZE", 150)
    monkeypatch.setattr(step_predict, "CHUNK_ROWS", 40)
    if not by_columns:  # as of an online store that reads rows alone
        monkeypatch.setattr(online_columns, "ColumnStore", FeastStore)
    asked = [f"m-{number:04}" for number in np.random.default_rng(1).integers(0, 400, 1000)]
    (tmp_path / "ids").write_text("\n".join([INCOMPLETE, *asked]))
    predictor = production_predictor(prepared)
    output = io.StringIO()
    write = csv_rows(output, "machine_id")
    counts = predict_file(predictor, tmp_path / "ids", write, NOW, header=False)
    rows = rows_of(output.getvalue())
    expected = predictor.predict_many(
        [ScoringRequest(one, "") for one in [INCOMPLETE, *asked]], NOW
    )
    for row, one in zip(rows, expected, strict=True):
        if isinstance(one, NoAnswer):
            assert (row["problem"], row["probability"]) == (one.code, "")
        else:
            assert (row["machine_id"], row["problem"]) == (one.entity_id, "")
            assert int(row["prediction"]) == one.prediction
            assert float(row["probability"]) == one.probability
            assert datetime.fromisoformat(row["features_as_of"]) == one.features_as_of
    assert counts == Counter(row["problem"] or "predicted" for row in rows)


def test_an_id_with_commas_and_quotes_is_one_value(here: Here, tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text('machine_id\nm-0001\n"a,""b"""\n')
    rows = rows_of(here("--file", "ids.csv")[1])
    assert [(row["machine_id"], row["problem"]) for row in rows] == [
        ("m-0001", ""),
        ('a,"b"', "unknown_entity"),
    ]


def test_for_eyes_the_counts_are_told_in_a_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("machine_id\nm-0001\nnobody\n")
    told = done(cli, "--file", "ids", "--output", "scores.csv")
    assert told == "2 ids: 1 predicted, 1 unknown_entity. Written to scores.csv.\n"


@pytest.fixture
def here(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """Runs `streamflow predict …` in this process; returns its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["streamflow", "predict", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capsys.readouterr()

    return run


Here = Callable[..., tuple[int, str, str]]


def test_a_parquet_file_has_the_rows_of_the_csv_file(here: Here, tmp_path: Path) -> None:
    asked = ["m-0001", "nobody", INCOMPLETE, "m-0007"]
    (tmp_path / "ids.csv").write_text("\n".join(["machine_id", *asked]))
    pq.write_table(pa.table({"machine_id": asked, "n": [1, 2, 3, 4]}), tmp_path / "ids.parquet")
    assert here("--file", "ids.csv", "--output", "scores.csv")[0] == 0
    assert here("--file", "ids.parquet", "--output", "scores.PARQUET")[0] == 0
    rows = rows_of((tmp_path / "scores.csv").read_text())
    table = pq.read_table(tmp_path / "scores.PARQUET")
    assert table.column_names == HEADER
    assert [str(kind) for kind in table.schema.types] == [
        *("string", "int64", "double", "int64", "string", "timestamp[us, tz=UTC]"),
        *("string", "string"),
    ]
    for row, same in zip(rows, table.to_pylist(), strict=True):
        moment = same["features_as_of"]
        same["features_as_of"] = moment and moment.isoformat(timespec="microseconds")
        assert row == {name: "" if value is None else str(value) for name, value in same.items()}


def test_a_parquet_file_of_no_id_has_the_columns(here: Here, tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("machine_id\n")
    assert here("--file", "ids.csv", "--output", "scores.parquet")[0] == 0
    assert pq.read_table(tmp_path / "scores.parquet").column_names == HEADER


def test_a_file_of_which_no_id_has_a_prediction_is_an_error(here: Here, tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text(f"machine_id\nnobody\n{INCOMPLETE}\n")
    code, out, err = here("--file", "ids.csv", "--output", "scores.csv")
    assert (code, out) == (1, "")
    assert "2 ids: 1 unknown_entity, 1 missing_features. Written to scores.csv." in err
    assert len(rows_of((tmp_path / "scores.csv").read_text())) == 2
    code, out, err = here("--file", "ids.csv")
    assert code == 1
    assert len(rows_of(out)) == 2
    assert "None of the ids" in err
    code, out, err = here("--file", "ids.csv", "--output", "scores.csv", "--json")
    assert (code, json.loads(out)["error"]) == (1, "nothing_predicted")


def test_counts_of_what_is_printed_are_told_beside_it(here: Here, tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("machine_id\nm-0001\nnobody\n")
    _, out, err = here("--file", "ids.csv")
    assert len(rows_of(out)) == 2
    assert err == "2 ids: 1 predicted, 1 unknown_entity.\n"


@pytest.mark.parametrize(
    "content", ["machine_id;x\nm-0001;1\n", "id\nm-0001\n", "MACHINE_ID\nm-0001\n"]
)
def test_a_header_is_not_taken_for_an_id(here: Here, tmp_path: Path, content: str) -> None:
    (tmp_path / "ids.csv").write_text(content)
    code, out, err = here("--file", "ids.csv", "--output", "scores.csv")
    assert (code, out) == (1, "")
    assert "can't be read as a file of ids" in err
    assert [path.name for path in tmp_path.iterdir()] == ["ids.csv"]


def test_the_output_is_its_user_s_alone_or_as_open_as_before(here: Here, tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("machine_id\nm-0001\n")
    before = os.umask(0)
    try:
        here("--file", "ids.csv", "--output", "scores.csv")
        assert stat.S_IMODE((tmp_path / "scores.csv").stat().st_mode) == 0o600
        (tmp_path / "scores.csv").chmod(0o640)
        here("--file", "ids.csv", "--output", "scores.csv")
        assert stat.S_IMODE((tmp_path / "scores.csv").stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_what_a_killed_run_left_is_removed_by_the_next(here: Here, tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("machine_id\nm-0001\n")
    left = tmp_path / ".scores.csv.abc12345.partial"
    other = tmp_path / ".scores.csv.bak"
    for file in (left, other):
        file.write_text("half")
    here("--file", "ids.csv", "--output", "scores.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(other.name, "ids.csv", "scores.csv")
    ]


def test_a_file_that_turns_out_to_be_bad_leaves_what_was_written_before(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "ids").write_text("machine_id\n" + "m-0001\n" * 1_500 + "\tnone\n")
    (tmp_path / "scores.csv").write_text("from before")
    before = sorted(tmp_path.iterdir())
    told = refused(cli, "--file", "ids", "--output", "scores.csv")
    assert told["error"] == "unreadable_file"
    assert "line 1502" in told["message"]
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
        (("m-0001", "--output", "scores.csv"), "--output and --no-header go with --file"),
        (("--file", "ids"), "--json with --file needs --output"),
        (("m-0001", "--no-header"), "--no-header go with --file"),
        (("--file", "ids.parquet", "--no-header"), "--no-header is for CSV"),
        (("--file", "ids", "--output", "scores.txt"), "neither CSV nor Parquet"),
        (("--file", "ids", "--output", "scores"), "neither CSV nor Parquet"),
        (("--file", "ids", "--output", "scores.csv.gz"), "neither CSV nor Parquet"),
        (("--file", "ids", "--output", "/dev/null"), "is a device"),
        (("--file", "ids.csv", "--output", "ids.csv"), "is the file of ids"),
        (("--file", "ids.csv", "--output", "./link.csv"), "is the file of ids"),
        (("--file", "ids.csv", "--output", "hard link.csv"), "is the file of ids"),
        (("--file", "ids", "--output", "no folder/scores.csv"), "There is no folder"),
        (("--file", "ids", "--output", "."), "is a folder"),
        (("--file", "ids", "--output", "/proc/scores.csv"), "can't be written"),
    ],
)
def test_a_command_that_does_not_make_sense_is_told_so_before_anything_is_done(
    arguments: tuple[str, ...], told: str, here: Here, tmp_path: Path
) -> None:
    for name in ("ids", "ids.csv"):
        (tmp_path / name).write_text("machine_id\nm-0001\n")
    (tmp_path / "link.csv").symlink_to("ids.csv")
    (tmp_path / "hard link.csv").hardlink_to(tmp_path / "ids.csv")
    before = sorted(tmp_path.iterdir())
    code, out, _ = here(*arguments, "--json")
    answer = json.loads(out)
    assert (code, answer["error"]) == (2, "usage")
    assert told in answer["message"]
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "ids.csv").read_text() == "machine_id\nm-0001\n"
