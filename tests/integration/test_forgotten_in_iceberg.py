"""A person is forgotten whose rows are in Apache Iceberg: no file there has the id afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests import tiny_case
from tests.columnar_history import plain
from tests.integration.test_forgetting import FEBRUARY, JANUARY, NOW, PERSON, use_case

from streamflow.bootstrap import platform
from streamflow.history.forgotten.forgotten import forgotten_lines
from streamflow.history.iceberg.session import IcebergSession
from streamflow.history.ingest import ingest
from streamflow.lineage import reproduce
from streamflow.operations.forgetting import forget, history_files, home_files, space
from streamflow.operations.forgetting.rows import UnknownPerson
from streamflow.operations.history_files.compact_history import compact_history
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.step_lock import one_step
from streamflow.platform import Platform
from streamflow.settings import load_settings
from streamflow.use_case import Generation

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_plots", "without_reclaiming")]

HISTORIES = ("failures_history", "machines_history", "readings_history")


@pytest.fixture
def without_reclaiming(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's own files are another test's."""
    monkeypatch.setattr(space, "reclaim", lambda *_: [])


@pytest.fixture
def months(tmp_path: Path) -> Path:
    """Two months of a hundred machines, one of which is the person."""
    folder = tmp_path / "months"
    tiny_case.generate(Generation(folder, users=100, months=2, seed=7))
    for file in folder.rglob("*.csv"):
        file.write_text(file.read_text().replace("m-0007,", f"{PERSON},"))
    return folder


@pytest.fixture
def ready(
    new_database: Callable[..., str], prepared_database: str, months: Path, tmp_path: Path
) -> Iterator[Platform]:
    """A platform with both months in Iceberg."""
    settings = load_settings(
        home=tmp_path / "home",
        database_url=new_database(prepared_database),
        use_case="tests.tiny_case",
        engine="duckdb",
        history=f"file://{tmp_path}/there",
    )
    with platform(settings) as opened:
        load(opened, months)
        yield opened


def load(ready: Platform, months: Path, ago: int = 20) -> int:
    """Load both months; how many rows of those who were forgotten were left out."""
    left_out = 0
    for number, as_of in enumerate((JANUARY, FEBRUARY)):
        folder, recorded_at = months / f"month_{number:03}", NOW - timedelta(days=ago - number)
        reports = ready.settings.home / "reports"
        done = ingest(ready.database, use_case, folder, as_of, recorded_at, NOW, "test", reports)
        left_out += sum(table.forgotten for table in done.tables.values())
    return left_out


def rows_by_table(ready: Platform, of: str) -> dict[str, list[str]]:
    session = ready.database
    assert isinstance(session, IcebergSession)
    session.refresh(use_case.name)
    found = {}
    for history in HISTORIES:
        query = f"""SELECT * FROM "{use_case.name}"."{history}" WHERE machine_id {of} '{PERSON}'"""
        rows = [row for batch in session.batches(query) for row in batch.to_pylist()]
        found[history] = sorted(map(plain, rows))
    return found


def files_with_the_person(ready: Platform) -> list[Path]:
    """Files below the location that have the id, in a row or in bytes."""
    found = []
    for path in Path(ready.settings.history.removeprefix("file://")).rglob("*"):
        if not path.is_file():
            continue
        ids = pq.read_table(path)["machine_id"].to_pylist() if path.suffix == ".parquet" else []
        if PERSON in ids or PERSON.encode() in path.read_bytes():
            found.append(path)
    return found


def test_the_rows_go_with_the_files_and_the_others_are_as_they_were(
    ready: Platform, months: Path
) -> None:
    others = rows_by_table(ready, "<>")
    assert len(files_with_the_person(ready)) == 6

    done = forget.forget(ready, [PERSON], "asked for it", "me", NOW)

    assert done.left == []
    assert done.people[0].tables == {f"{use_case.name}.{one}": 2 for one in HISTORIES}
    assert rows_by_table(ready, "<>") == others
    assert rows_by_table(ready, "=") == {one: [] for one in HISTORIES}
    assert files_with_the_person(ready) == []
    (line,) = forgotten_lines(ready.database, use_case)
    assert "space" in line.steps

    again = forget.forget(ready, [PERSON], "asked again", "me", NOW)
    assert [one.tables for one in again.people] == [{}]
    # The person doesn't come back, and the others go on.
    assert load(ready, months, ago=10) == 6
    assert rows_by_table(ready, "=") == {one: [] for one in HISTORIES}
    assert files_with_the_person(ready) == []


def test_the_files_of_before_a_compaction_go_too(ready: Platform, months: Path) -> None:
    for file in months.rglob("readings.csv"):
        file.write_text(file.read_text().replace(".", ".1"))
    load(ready, months, ago=10)
    done = compact_history(ready, timedelta(days=1), NOW)
    assert [one.history for one in done.tables] == ["readings_history"]
    assert len(files_with_the_person(ready)) == 2 + 2 + 2 * 3

    forget.forget(ready, [PERSON], "asked for it", "me", NOW)
    assert files_with_the_person(ready) == []


@pytest.mark.parametrize(
    ("owner", "name"), [(home_files, "forget_in_home"), (history_files, "remove_files_of_before")]
)
def test_what_was_interrupted_is_finished_by_the_same_command(
    owner: object, name: str, ready: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(owner, name, killed)
        forget.forget(ready, [PERSON], "asked for it", "me", NOW)
    assert rows_by_table(ready, "=") == {one: [] for one in HISTORIES}
    assert files_with_the_person(ready), "the files of before"

    done = forget.forget(ready, [PERSON], "asked for it", "me", NOW)
    assert done.people[0].already == NOW
    assert files_with_the_person(ready) == []


def test_files_that_a_step_may_read_are_told_and_finished_later(ready: Platform) -> None:
    forget.forget(ready, [PERSON], "asked for it", "me", NOW, later=True)
    with one_step(ready.database):
        (left,) = forget.finish(ready)
    assert "a step is running" in left.why
    assert "forget --finish" in left.next
    assert files_with_the_person(ready)
    assert forget.finish(ready) == []
    assert files_with_the_person(ready) == []


def test_an_id_that_no_table_has_changes_nothing(ready: Platform) -> None:
    others = rows_by_table(ready, "<>")
    with pytest.raises(UnknownPerson):
        forget.forget(ready, ["m-nobody"], "asked for it", "me", NOW)
    assert rows_by_table(ready, "<>") == others
    assert len(files_with_the_person(ready)) == 6


def test_a_run_of_before_says_that_rows_were_forgotten(ready: Platform) -> None:
    apply(ready)
    run = train.train(ready, JANUARY, None, 7, NOW)
    forget.forget(ready, [PERSON], "asked for it", "me", NOW)
    done = reproduce.reproduce(ready, ready.registry.run(run.run_id), NOW)
    assert (done.verdict, done.forgotten) == ("forgotten", 1)
