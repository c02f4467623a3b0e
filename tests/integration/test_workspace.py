"""StreamFlow from Python: the examples of the docstrings, and that they are the commands' steps."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from tests.conftest import Cli, url_of
from tests.tiny_case import generate

import streamflow
from streamflow.errors import AsOfRefused
from streamflow.settings import Settings
from streamflow.use_case import Generation
from streamflow.workspace import arrow_table, workspace
from streamflow.workspace.data_steps import DataSteps
from streamflow.workspace.workspace import Workspace

TINY = "tests.tiny_case"


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two months of 300 machines."""
    folder = tmp_path_factory.mktemp("months")
    generate(Generation(folder, users=300, months=2, seed=1))
    return folder


@pytest.fixture
def opened(settings: Settings) -> Iterator[Workspace]:
    """A workspace without a month, of the use case of the workshop."""
    with streamflow.open(settings.home, use_case=TINY, database_url=url_of(settings)) as made:
        yield made


@pytest.mark.slow
def test_the_examples_of_the_docstrings_are_true(
    opened: Workspace, settings: Settings, months: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMFLOW_DATABASE_URL", url_of(settings))
    names = {
        "streamflow": streamflow,
        "workspace": opened,
        "months": months,
        "home": settings.home,
    }
    parser, told = doctest.DocTestParser(), []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    # In the order of a story, which is the order in the file.
    for name in (
        "open",
        *(one for part in (DataSteps, Workspace) for one in vars(part) if one[0] != "_"),
    ):
        about = (getattr(Workspace, name, None) or vars(workspace)[name]).__doc__ or ""
        kept = {} if name == "open" else names
        example = parser.get_doctest(about, {**names, **kept}, name, None, 0)
        runner.run(example, out=told.append, clear_globs=False)
        names |= {key: example.globs[key] for key in ("rows", "trained") if key in example.globs}
    assert not runner.failures, "".join(told)
    assert runner.tries > 12


def test_importing_streamflow_loads_nothing_and_still_says_what_there_is() -> None:
    code = """
import sys
before = set(sys.modules)
import streamflow
print(*sorted(set(sys.modules) - before))
print("open" in dir(streamflow), streamflow.__version__)
streamflow.open
heavy = {"feast", "mlflow", "pandas", "pyarrow", "psycopg", "sklearn", "numpy", "pydantic"}
print(*sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["streamflow", f"True {streamflow.__version__}", ""]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        streamflow.opne  # type: ignore[attr-defined]  # noqa: B018


def test_a_correction_shows_on_both_time_axes(opened: Workspace, months: Path) -> None:
    opened.ingest(months / "month_000", "2024-01-31", recorded_at="2024-02-01T08:00")
    corrected = months.parent / "corrected"
    corrected.mkdir()
    for file in (months / "month_000").iterdir():
        text = file.read_text()
        if file.name == "machines.csv":
            text = text.replace("m-0007,mill,17", "m-0007,mill,71")
        (corrected / file.name).write_text(text)
    opened.ingest(corrected, "2024-01-31", recorded_at="2024-02-05T08:00")
    rows = opened.history("m-0007")["machines"].arrow.to_pylist()
    assert [(str(row["as_of"]), row["recorded_at"].day, row["age_weeks"]) for row in rows] == [
        ("2024-01-31", 1, 17),
        ("2024-01-31", 5, 71),
    ]
    before = opened.history("m-0007", known_at="2024-02-03")["machines"]
    assert before.arrow["age_weeks"].to_pylist() == [17]
    assert len(opened.history("nobody")["machines"]) == 0


def test_the_command_writes_the_rows_that_python_has(
    opened: Workspace, months: Path, cli: Cli, tmp_path: Path
) -> None:
    opened.ingest(months / "month_000", "2024-01-31")
    opened.ingest(months / "month_001", "2024-02-29")
    opened.apply()
    rows = opened.training_set("2024-02-29", months=2)
    assert rows.months == tuple(opened.months())
    assert pa.table(rows).equals(rows.arrow)
    asked = ("training-set", "--as-of", "2024-02-29", "--months", "2", "--json", "--output")
    file = tmp_path / "rows.parquet"
    said = json.loads(cli(*asked, str(file), STREAMFLOW_USE_CASE=TINY).stdout)
    assert said["data_hash"] == rows.data_hash
    assert pyarrow.parquet.read_table(file).equals(rows.arrow)
    assert said["columns"] == rows.columns
    done = cli(*asked, "rows.txt", STREAMFLOW_USE_CASE=TINY)
    assert done.returncode == 2
    assert "name it .csv or .parquet" in done.stdout
    with pytest.raises(AsOfRefused, match="2024-03-31"):
        opened.training_set("2024-03-31")


def test_a_csv_keeps_nulls_and_texts_apart_and_a_failure_leaves_the_file(tmp_path: Path) -> None:
    from streamflow.pipeline.tables import table_file

    table = pa.table({"id": pa.array(["007", "", None]), "n": pa.array([1, None, 3])})
    file = tmp_path / "rows.CSV"
    table_file.write(table, file)
    assert file.read_text() == '"id","n"\n"007",1\n"",\n,3\n'
    with pytest.raises(pa.ArrowInvalid):
        table_file.write(pa.table({"lists": [[1], [2], [3]]}), file)
    assert file.read_text().startswith('"id"')
    assert [one.name for one in tmp_path.iterdir()] == ["rows.CSV"]


def test_pandas_has_types_that_know_null() -> None:
    table = arrow_table.ArrowTable(pa.table({"n": [1, None], "b": [None, True], "x": [0.5, None]}))
    assert [str(kind) for kind in table.to_pandas().dtypes] == ["Int64", "boolean", "float64"]
    assert "2 rows" in repr(table)
    assert "<table" in table._repr_html_()
