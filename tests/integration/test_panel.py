"""Several months learned together: what each row may know, what judges it, and that it comes again.

`STREAMFLOW_LONG_TESTS` draws hundreds of random histories instead of a few.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests import tiny_case
from tests.conftest import OwnDatabase
from tests.statements import execute
from tests.training_tables import listed

from streamflow.bootstrap import platform
from streamflow.errors import AsOfRefused, LabelsNotMatured, UntrainableData
from streamflow.features import month_rows, point_in_time
from streamflow.features.entity_sample import EntitySample
from streamflow.features.point_in_time import Assembled
from streamflow.history.as_of import event_timestamp
from streamflow.history.ingest import ingest
from streamflow.history.months import months_up_to
from streamflow.lineage import diff, reproduce
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.platform import Platform
from streamflow.settings import load_settings
from streamflow.training.split import Choice
from streamflow.use_case import Generation

pytestmark = pytest.mark.usefixtures("without_plots")

MONTHS = [date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31), date(2024, 4, 30)]
NOW = datetime(2024, 9, 1, 12, tzinfo=UTC)
MACHINES = ("m-1", "m-2", "m-3", "m-4")
EXAMPLES = 200 if os.environ.get("STREAMFLOW_LONG_TESTS") else 3


def known(as_of: date) -> datetime:
    """When a month's files arrive: three days after its end."""
    return event_timestamp(as_of) + timedelta(days=3)


@contextmanager
def opened(url: str, home: Path, use_case: str = "tests.tiny_case") -> Iterator[Platform]:
    with platform(load_settings(home=home, database_url=url, use_case=use_case)) as ready:
        yield ready


# Against a brute-force join.


@dataclass(frozen=True)
class Delivery:
    """The files of one ingestion: by machine a row of each table, None where a file lacks it."""

    as_of: date
    recorded_at: datetime
    machines: dict[str, tuple[str, int]]
    readings: dict[str, tuple[float, int, bool | None]]
    failures: dict[str, bool | None]


def deliveries() -> st.SearchStrategy[list[Delivery]]:
    kinds = st.tuples(st.sampled_from(tiny_case.KINDS), st.integers(0, 99))
    readings = st.tuples(
        st.floats(0, 99, width=16), st.integers(0, 9), st.sampled_from((True, False, None))
    )

    @st.composite
    def one(draw: st.DrawFn, number: int) -> Delivery:
        as_of = MONTHS[number] if number < len(MONTHS) else draw(st.sampled_from(MONTHS))
        # A correction comes later than all months, in the order of its number.
        recorded_at = known(as_of) if number < len(MONTHS) else known(MONTHS[-1])
        machines = draw(st.dictionaries(st.sampled_from(MACHINES), kinds, min_size=1))
        some = st.sampled_from(sorted(machines))
        return Delivery(
            as_of,
            recorded_at + timedelta(days=number),
            machines,
            draw(st.dictionaries(some, readings, min_size=1)),
            draw(st.dictionaries(some, st.booleans(), min_size=1)),
        )

    return st.integers(len(MONTHS), len(MONTHS) + 3).flatmap(
        lambda count: st.tuples(*(one(number) for number in range(count))).map(list)
    )


def write(delivery: Delivery, folder: Path) -> Path:
    folder.mkdir(parents=True)
    tables: dict[str, dict[str, Any]] = {
        "machines": delivery.machines,
        "readings": delivery.readings,
        "failures": {machine: (label,) for machine, label in delivery.failures.items()},
    }
    for table in tiny_case.tables():
        rows = [[machine, *values] for machine, values in tables[table.name].items()]
        with (folder / f"{table.name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([list(table.contract.columns), *rows])
    return folder


class BruteForce:
    """What was valid at each as_of and known at a moment, row by row."""

    def __init__(self, history: list[Delivery], known_at: datetime) -> None:
        self.seen = [one for one in history if one.recorded_at <= known_at]

    def newest(self, table: str, machine: str, as_of: date) -> Any:
        """The row of the machine at the as_of that was recorded last."""
        found = [one for one in self.seen if one.as_of == as_of and machine in getattr(one, table)]
        if not found:
            return None
        return getattr(max(found, key=lambda one: one.recorded_at), table)[machine]

    def joined(self, table: str, machine: str, as_of: date) -> Any:
        """The machine's newest row at the as_of or before that is young enough for its view."""
        row, seen = self.of_any_age(table, machine, as_of)
        return row if seen is not None and as_of - seen <= timedelta(days=45) else None

    def of_any_age(self, table: str, machine: str, as_of: date) -> tuple[Any, date | None]:
        """The machine's newest row at the as_of or before, and of which as_of it is."""
        for month in sorted((one for one in MONTHS if one <= as_of), reverse=True):
            if (row := self.newest(table, machine, month)) is not None:
                return row, month
        return None, None

    def labels(self, as_of: date) -> dict[str, bool]:
        """The answers of the machines that have a row at the as_of."""
        found = {machine: self.newest("failures", machine, as_of) for machine in MACHINES}
        return {
            machine: label
            for machine, label in found.items()
            if label is not None and self.newest("machines", machine, as_of) is not None
        }

    def rows(self, months: list[date]) -> list[tuple[date, str, tuple[Any, ...], bool]]:
        """The training set of the months."""
        rows = []
        for as_of in months:
            for machine, label in self.labels(as_of).items():
                machines = self.joined("machines", machine, as_of)
                readings = self.joined("readings", machine, as_of)
                if readings is not None:
                    rows.append((as_of, machine, (*machines, *readings), label))
        return rows

    def everyone(self, as_of: date) -> list[tuple[Any, ...]]:
        """The machines of the month, each with its newest features and of when they are."""
        rows = []
        for machine in MACHINES:
            if self.newest("machines", machine, as_of) is not None:
                (machines, at), (readings, read_at) = (
                    self.of_any_age(table, machine, as_of) for table in ("machines", "readings")
                )
                times = [day and event_timestamp(day) for day in (at, read_at)]
                rows.append((machine, *machines, *(readings or (None, None, None)), *times))
        return rows


@pytest.mark.slow
@given(data=st.data())
@hypothesis_settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.generate],  # an example takes a second, and shrinking one takes hundreds
)
def test_a_panel_is_what_a_brute_force_join_finds_in_any_history(
    data: st.DataObject,
    own_database: OwnDatabase,
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    history = data.draw(deliveries())
    folder, use_case = tmp_path_factory.mktemp("history"), tiny_case.use_case
    with own_database(prepared_database) as url, opened(url, folder / "a home") as ready:
        database = ready.database
        for number, one in enumerate(history):
            files = write(one, folder / str(number))
            arguments = (database, use_case, files, one.as_of, one.recorded_at, NOW, "test", folder)
            ingest(*arguments, really=True)  # a few rows may be another month's by chance
        apply(ready)
        moments = [one.recorded_at for one in history[len(MONTHS) - 1 :]]
        for count in range(1, len(MONTHS) + 1):
            known_at = data.draw(st.sampled_from(moments), label="known at")
            months = months_up_to(database, use_case, MONTHS[-1], known_at, count)
            truth = BruteForce(history, known_at)
            expected = truth.rows(months)
            if not all(truth.labels(month) for month in months):
                with pytest.raises(AsOfRefused, match="No 'fails' of AS_OF"):
                    point_in_time.assemble(database, use_case, months, known_at)
            elif not expected:
                with pytest.raises(UntrainableData, match="has all features"):
                    point_in_time.assemble(database, use_case, months, known_at)
            else:
                found = point_in_time.assemble(database, use_case, months, known_at).training_set
                names = [feature.name for feature in found.schema.features]
                columns = zip(*(listed(found, name) for name in names), strict=True)
                rows = zip(found.as_ofs, found.entities, columns, found.labels, strict=True)
                assert list(rows) == expected
            batches = month_rows.month_rows(database, use_case, months[-1], known_at)
            found = [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
            assert found == truth.everyone(months[-1])


# What judges, and what must not move it.


@dataclass(frozen=True)
class Loaded:
    """A database with four months of 60 machines, and the folder of their files."""

    url: str
    months: Path


@pytest.fixture(scope="module")
def loaded(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Loaded:
    home, url = tmp_path_factory.mktemp("loaded"), new_database(prepared_database)
    tiny_case.generate(Generation(home / "months", users=60, months=4, seed=3, drift=1.0))
    with opened(url, home) as ready:
        for number, as_of in enumerate(MONTHS):
            folder = home / "months" / f"month_{number:03}"
            ingest(ready.database, ready.use_case, folder, as_of, known(as_of), NOW, "test", home)
        apply(ready)
    return Loaded(url, home / "months")


@pytest.fixture
def ready(loaded: Loaded, own_database: OwnDatabase, tmp_path: Path) -> Iterator[Platform]:
    with own_database(loaded.url) as url, opened(url, tmp_path / "a home") as copied:
        yield copied


def trained(ready: Platform, choice: Choice, as_of: date = MONTHS[-1]) -> train.Trained:
    return train.train(ready, as_of, None, 42, NOW, choice=choice)


def test_several_months_are_judged_on_the_newest_which_training_hasnt_seen(
    ready: Platform,
) -> None:
    done = trained(ready, Choice(months=4))
    assert (done.months, done.rows, done.validation_rows) == (MONTHS, 240, 60)
    assert done.validation == "out-of-time"
    assert done.judged_on.startswith(
        "Judged on 2024-04-30, after training on 2024-01-31 to 2024-03-31"
    )
    run = ready.registry.run(done.run_id)
    assert run.params["validation"] == "out-of-time"
    assert run.params["months"] == "2024-01-31, 2024-02-29, 2024-03-31, 2024-04-30"
    assert run.judged_on == ready.registry.version(done.version).judged_on == done.judged_on


def test_two_months_of_validation_have_figures_of_their_own(ready: Platform) -> None:
    done = trained(ready, Choice(since=MONTHS[0], validation_months=2))
    assert list(done.by_month) == ["2024-03-31", "2024-04-30"]
    metrics = ready.registry.run(done.run_id).metrics
    for month, figures in done.by_month.items():
        assert metrics[f"validation_{month}/auc"] == figures["auc"]
    assert done.metrics["auc_low"] <= done.metrics["auc"] <= done.metrics["auc_high"]


def test_a_month_alone_is_what_it_always_was(ready: Platform) -> None:
    alone, of_one = trained(ready, Choice()), trained(ready, Choice(months=1))
    assert (alone.data_hash, alone.model_hash) == (of_one.data_hash, of_one.model_hash)
    assert alone.validation == "random"
    assert "nothing about next month" in alone.judged_on
    with pytest.raises(UntrainableData, match="leaves no month to train on"):
        trained(ready, Choice(validation="out-of-time"))


def entities(assembled: Assembled) -> set[str]:
    return {*assembled.table.column(0).to_pylist()}


def test_a_sample_has_the_entities_with_the_lowest_hashes_in_every_month(ready: Platform) -> None:
    everyone = point_in_time.assemble(ready.database, ready.use_case, MONTHS, NOW)
    names = sorted(
        entities(everyone),
        key=lambda one: hashlib.md5(one.encode(), usedforsecurity=False).hexdigest(),
    )
    done = trained(ready, Choice(months=4, sample=20))
    assert (done.sample, done.rows, done.without_label) == (20, 80, 0)
    run = ready.registry.run(done.run_id)
    assert run.params["sample"] == "20"
    drawn = point_in_time.assemble(ready.database, ready.use_case, MONTHS, NOW, sample=20)
    kept = pc.is_in(everyone.table.column(0), pa.array(names[:20], pa.large_string()))
    assert drawn.table == everyone.table.filter(kept)
    newest = point_in_time.assemble(ready.database, ready.use_case, MONTHS[-1:], NOW, sample=10)
    assert entities(newest) == set(names[:10]), "the same in each month"
    assert reproduce.reproduce(ready, run, NOW).verdict == "identical"
    larger = trained(ready, Choice(months=4, sample=30))
    factors = {one.name: one for one in diff.diff(ready, done.run_id, larger.run_id).factors}
    assert "sample 20 → 30" in factors["configuration"].said


def test_a_sample_of_more_than_there_are_is_everyone(ready: Platform) -> None:
    for size in (60, 61):
        found = point_in_time.assemble(ready.database, ready.use_case, MONTHS, NOW, sample=size)
        assert found.sample == EntitySample(size, None)
        assert found.table.num_rows == 240


def test_a_recorded_sample_takes_nobody_in_for_one_who_is_gone(ready: Platform) -> None:
    database, use_case = ready.database, ready.use_case
    found = point_in_time.assemble(database, use_case, MONTHS, NOW, sample=20)
    gone = found.table.column(0)[0].as_py()
    for table in ("machines", "readings", "failures"):
        execute(database, f"DELETE FROM failures.{table}_history WHERE machine_id = %s", [gone])
    again = point_in_time.assemble(database, use_case, MONTHS, NOW, sample=found.sample)
    assert entities(again) == entities(found) - {gone}


def test_other_answers_in_the_month_that_judges_dont_move_the_model(ready: Platform) -> None:
    before = trained(ready, Choice(months=4))
    with ready.database.transaction():
        execute(
            ready.database,
            "UPDATE failures.failures_history SET fails = NOT fails WHERE as_of = %s",
            [MONTHS[-1]],
        )
    after = trained(ready, Choice(months=4))
    assert after.model_hash == before.model_hash
    assert after.data_hash != before.data_hash
    assert after.metrics["auc"] != before.metrics["auc"]
    refitted = trained(ready, Choice(months=4, refit=True))
    assert refitted.model_hash != after.model_hash
    assert refitted.metrics["auc"] == after.metrics["auc"], "the twin's figures"
    assert "its twin" in refitted.judged_on


def test_a_horizon_leaves_a_month_between_and_says_so(ready: Platform) -> None:
    label = replace(ready.use_case.label, horizon=timedelta(days=32))
    patient = replace(ready, use_case=replace(ready.use_case, label=label))
    execute(
        ready.database,
        "UPDATE failures.failures_history SET recorded_at = event_timestamp + interval '32 days'",
    )
    done = trained(patient, Choice(months=4))
    assert done.gap_months == [MONTHS[2]]
    assert "training on 2024-01-31 to 2024-02-29" in done.judged_on
    too_early = event_timestamp(MONTHS[-1]) + timedelta(days=31)
    with pytest.raises(LabelsNotMatured, match="2024-04-30 mature at"):
        train.train(patient, MONTHS[-1], None, 42, too_early, choice=Choice(months=4))


def test_more_months_than_there_are_are_refused_with_those_that_are_there(
    ready: Platform,
) -> None:
    with pytest.raises(AsOfRefused, match="5 months up to AS_OF 2024-04-30 are asked for") as told:
        trained(ready, Choice(months=5))
    assert "--months 4" in told.value.next
    with pytest.raises(AsOfRefused, match="is after --as-of"):
        trained(ready, Choice(since=MONTHS[-1]), MONTHS[0])


def test_a_value_that_only_the_validation_month_has_is_left_out_of_judging_and_told(
    ready: Platform,
) -> None:
    with ready.database.transaction():
        execute(
            ready.database,
            "UPDATE failures.machines_history SET kind = 'press' "
            "WHERE kind = 'mill' AND as_of < %s",
            [MONTHS[-1]],
        )
    done = trained(ready, Choice(months=4))
    assert done.validation_rows == 40
    assert any(
        "20 validation rows have a value that training never saw" in w for w in done.warnings
    )
    refitted = trained(ready, Choice(months=4, refit=True))
    assert refitted.validation_rows == 40


# And again.


def verdict(ready: Platform, run: train.Trained) -> tuple[str, list[str]]:
    done = reproduce.reproduce(ready, ready.registry.run(run.run_id), NOW)
    data = next(factor for factor in done.factors if factor.name == "data")
    return done.verdict, data.said


def with_other_kinds(month: Path, folder: Path) -> Path:
    """The month's files with mills for lathes."""
    folder.mkdir()
    for file in month.iterdir():
        (folder / file.name).write_text(file.read_text().replace(",lathe,", ",mill,"))
    return folder


@pytest.mark.parametrize("method", ["out-of-time", "entities", "random"])
def test_a_panel_comes_out_identical_also_after_a_correction(
    method: Any, ready: Platform, loaded: Loaded, tmp_path: Path
) -> None:
    run = trained(ready, Choice(months=4, validation=method, refit=method == "entities"))
    assert verdict(ready, run) == ("identical", ["240 rows"])
    corrected = with_other_kinds(loaded.months / "month_001", tmp_path / "corrected")
    later = NOW + timedelta(days=1)
    ingest(ready.database, ready.use_case, corrected, MONTHS[1], later, later, "test", tmp_path)
    assert verdict(ready, run) == ("identical", ["240 rows"])


def test_a_value_that_was_changed_in_an_older_month_is_named_with_its_month(
    ready: Platform,
) -> None:
    run = trained(ready, Choice(months=4))
    with ready.database.transaction():
        execute(
            ready.database,
            "UPDATE failures.readings_history SET alarms = 77 "
            "WHERE machine_id = 'm-0007' AND as_of = %s",
            [MONTHS[1]],
        )
    found, said = verdict(ready, run)
    assert found == "different"
    assert said[0].startswith("1 row of readings: alarms; first: machine m-0007 at 2024-02-29")


def test_a_row_that_was_deleted_from_an_older_month_is_named_with_its_month(
    ready: Platform,
) -> None:
    run = trained(ready, Choice(months=4))
    with ready.database.transaction():
        execute(
            ready.database,
            "DELETE FROM failures.failures_history WHERE machine_id = 'm-0007' AND as_of = %s",
            [MONTHS[0]],
        )
    found, said = verdict(ready, run)
    assert (found, said[0]) == ("different", "1 row gone; first: machine m-0007 at 2024-01-31")


def test_an_answer_that_was_flipped_in_an_older_month_is_named_with_its_month(
    ready: Platform,
) -> None:
    run = trained(ready, Choice(months=4))
    with ready.database.transaction():
        execute(
            ready.database,
            "UPDATE failures.failures_history SET fails = NOT fails "
            "WHERE machine_id = 'm-0007' AND as_of = %s",
            [MONTHS[2]],
        )
    found, said = verdict(ready, run)
    assert found == "different"
    assert said[0].startswith("1 row of failures: label; first: machine m-0007 at 2024-03-31")


def test_rows_of_an_older_month_that_were_dated_back_are_named_with_their_ingestion(
    ready: Platform, loaded: Loaded, tmp_path: Path
) -> None:
    run = trained(ready, Choice(months=4))
    changed = with_other_kinds(loaded.months / "month_000", tmp_path / "changed")
    before = known(MONTHS[0]) + timedelta(hours=1)
    ingest(ready.database, ready.use_case, changed, MONTHS[0], before, NOW, "test", tmp_path)
    found, said = verdict(ready, run)
    assert found == "different"
    assert said[-1].startswith("ingestion 5 (as of 2024-01-31, recorded 2024-02-04T00:59:59")


def test_a_month_beside_four_differs_by_the_months_and_by_what_judged_it(ready: Platform) -> None:
    one, four = trained(ready, Choice()), trained(ready, Choice(months=4))
    done = diff.diff(ready, one.run_id, four.run_id)
    assert (len(done.gone), len(done.came)) == (0, 180)
    data, *_, configuration, _randomness, _model = done.factors
    assert "months 1 → 4 (2024-01-31 to 2024-04-30)" in data.said
    assert "validation random → out-of-time" in configuration.said
    assert done.judged_on == (one.judged_on, four.judged_on)
