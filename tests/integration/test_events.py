"""Features from events: what a pandas brute force says, with ties, late events and withdrawals.

`STREAMFLOW_LONG_TESTS` draws thousands of random histories instead of a few.
"""

from __future__ import annotations

import csv
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests import tiny_case
from tests.statements import execute

from streamflow.bootstrap import platform
from streamflow.errors import ContractViolation, InvalidSettings
from streamflow.features.unrecorded_features import unrecorded_months
from streamflow.history.history_changes import prepare_history
from streamflow.history.history_plan import history_plan
from streamflow.history.ingest import IngestedMonth, ingest
from streamflow.history.ingestions import recorded_ingestions
from streamflow.history.withdrawals.known_rows import FOR_EVER, known_rows
from streamflow.history.withdrawals.withdrawal import withdraw
from streamflow.operations.forgetting.rows import forget_rows
from streamflow.postgres.database import Database
from streamflow.settings import load_settings
from streamflow.use_case import (
    Count,
    DaysSince,
    Distinct,
    Events,
    Mean,
    Sum,
    Table,
    UseCase,
)

JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
FIRST = datetime(2024, 4, 10, 6, tzinfo=UTC)
NOW = datetime(2025, 9, 1, 12, tzinfo=UTC)
EXAMPLES = 2000 if os.environ.get("STREAMFLOW_LONG_TESTS") else 9
MACHINES = ("m-1", "m-2")

BOUNDED: Mapping[str, Any] = {
    "stops_1d": Count(days=1),
    "stops_29d": Count(days=29),
    "minutes_30d": Sum("minutes", days=30),
    "parts_60d": Sum("parts", days=60),
    "mean_60d": Mean("minutes", days=60),
    "reasons_45d": Distinct("reason", days=45),
}
EVER = {**BOUNDED, "days_since": DaysSince()}

# An event: machine, moment, minutes, parts, reason.
Event = tuple[str, datetime, float | None, int | None, str | None]


def use_case_with(aggregations: Mapping[str, Any], name: str) -> UseCase:
    def tables() -> tuple[Table, ...]:
        from pandera.pandas import Column, DataFrameSchema

        contract = DataFrameSchema(
            {
                "machine_id": Column("string"),
                "stopped_at": Column("datetime64[us, UTC]"),
                "minutes": Column("Float64", nullable=True),
                "parts": Column("Int64", nullable=True),
                "reason": Column("string", nullable=True),
            }
        )
        stops = Table("stops", events=Events(contract, "machine_id", "stopped_at", aggregations))
        machines, _, failures = tiny_case.tables()
        return machines, stops, failures

    return replace(tiny_case.use_case, name=name, tables=tables)


@pytest.fixture(scope="module")
def names() -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: f"stops_{next(numbers)}"


@pytest.fixture(scope="module")
def database(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Database]:
    """One for all tests, each of which has a use case of its own."""
    url, home = new_database(prepared_database), tmp_path_factory.mktemp("a home")
    with platform(load_settings(home=home, database_url=url, use_case="tests.tiny_case")) as ready:
        yield ready.database


def load(
    database: Database,
    use_case: UseCase,
    folder: Path,
    as_of: date,
    events: list[Event],
    recorded_at: datetime,
    machines: tuple[str, ...] = MACHINES,
) -> IngestedMonth:
    folder.mkdir(parents=True, exist_ok=True)
    # The machine's age tells months apart.
    rows = [[machine, "mill", as_of.month] for machine in machines]
    header = ["machine_id", "stopped_at", "minutes", "parts", "reason"]
    contents: dict[str, list[Any]] = {
        "machines": [["machine_id", "kind", "age_weeks"], *rows],
        "failures": [["machine_id", "fails"], *([one, "true"] for one in machines)],
        "stops": [header, *([*one[:1], one[1].isoformat(), *one[2:]] for one in events)],
    }
    for table, lines in contents.items():
        with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)
    return ingest(database, use_case, folder, as_of, recorded_at, NOW, "ada", folder / "reports")


def found(
    database: Database, use_case: UseCase, known_at: datetime = FOR_EVER
) -> dict[tuple[date, str], tuple[Any, ...]]:
    """The newest row of each machine and month, as known at the moment."""
    table = use_case.tables()[1]
    names = [name for name in table.contract.columns if name != "machine_id"]
    known = known_rows(database, use_case, table.history, known_at).as_string(None)
    rows = execute(
        database,
        f"SELECT DISTINCT ON (as_of, machine_id) as_of, machine_id, {', '.join(names)} "
        f"FROM {known} AS known WHERE recorded_at <= %s "
        "ORDER BY as_of, machine_id, recorded_at DESC",
        [known_at],
    )
    values = (tuple(row.values()) for row in rows)
    return {(as_of, machine): tuple(rest) for as_of, machine, *rest in values}


def brute_force(
    events: Counter[Event], aggregations: Mapping[str, Any], as_of: date, machine: str
) -> tuple[Any, ...]:
    """The features of one machine by pandas, event by event."""
    frame = pd.DataFrame(
        [one for one in events.elements() if one[0] == machine],
        columns=["machine", "time", "minutes", "parts", "reason"],
    )
    frame["day"] = [one.astimezone(UTC).date() for one in frame["time"]]
    frame = frame[frame["day"] <= as_of].sort_values(["time", "minutes"])
    values: list[Any] = []
    for one in aggregations.values():
        if isinstance(one, DaysSince):
            values.append((as_of - max(frame["day"])).days if len(frame) else None)
            continue
        window = frame[frame["day"] > as_of - timedelta(days=one.days)]
        if isinstance(one, Count):
            values.append(len(window))
            continue
        column = window[one.column].dropna()
        if isinstance(one, Distinct):
            values.append(column.nunique())
            continue
        total = 0.0
        for number in column:
            total += float(number)
        if isinstance(one, Sum):
            values.append(total)
        else:
            values.append(total / len(column) if len(column) else None)
    return tuple(values)


@dataclass(frozen=True)
class Step:
    """A month that is loaded, or the withdrawal of the load with the number `withdraws`."""

    as_of: date
    events: tuple[Event, ...]
    withdraws: int | None = None


def moments(as_of: date) -> st.SearchStrategy[datetime]:
    """Not after the as_of; often the first and last moment of a day, and of windows."""
    end = datetime(as_of.year, as_of.month, as_of.day, 23, 59, 59, 999_999, tzinfo=UTC)
    days = st.one_of(st.sampled_from((0, 1, 28, 29, 30, 44, 45, 59, 60)), st.integers(0, 100))
    within = st.sampled_from((0, 1, 43_200_000_000, 86_399_999_999))
    return st.builds(
        lambda day, microseconds: end - timedelta(days=day, microseconds=microseconds),
        days,
        within,
    )


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    drawn: list[Step] = []
    loads = 0
    seen: list[Event] = []
    for _ in range(draw(st.integers(1, 4))):
        if loads and draw(st.integers(0, 4)) == 0:
            drawn.append(Step(JANUARY, (), draw(st.integers(0, loads - 1))))
            continue
        as_of = draw(st.sampled_from((JANUARY, FEBRUARY, MARCH)))
        event = st.tuples(
            st.sampled_from((*MACHINES, "departed")),
            moments(as_of),
            st.sampled_from((None, 0.1, 0.2, 0.3, 1e16, -7.5)),
            st.sampled_from((None, 1, 3)),
            st.sampled_from((None, "jam", "oil")),
        )
        fresh = draw(st.lists(event, min_size=1, max_size=5))
        old = [one for one in seen if one[1].astimezone(UTC).date() <= as_of]
        again = draw(st.lists(st.sampled_from([*old, *fresh]), max_size=4))
        seen += fresh
        loads += 1
        drawn.append(Step(as_of, tuple(draw(st.permutations([*fresh, *again])))))
    return drawn


@hypothesis_settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    # Each try to make an example smaller ingests months.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(given_steps=steps(), aggregations=st.sampled_from((BOUNDED, EVER)))
def test_features_are_those_that_pandas_makes_of_the_events_known_then(
    database: Database,
    names: Callable[[], str],
    tmp_path: Path,
    given_steps: list[Step],
    aggregations: Mapping[str, Any],
) -> None:
    use_case = use_case_with(aggregations, names())
    added: list[tuple[int, date, Counter[Event]]] = []
    withdrawn: set[int] = set()
    known_then: dict[datetime, dict[tuple[date, str], tuple[Any, ...]]] = {}
    for number, step in enumerate(given_steps):
        moment = FIRST + timedelta(days=number)
        if step.withdraws is not None:
            withdraw(database, use_case, added[step.withdraws][0], "wrong", moment, "ada")
            withdrawn.add(step.withdraws)
            continue
        ingested = load(
            database,
            use_case,
            tmp_path / f"{use_case.name}_{number}",
            step.as_of,
            list(step.events),
            moment,
        )
        known = total(added, withdrawn)
        new = Counter(step.events) - known
        added.append((ingested.ingestion_id, step.as_of, new))
        known = total(added, withdrawn)
        rows = found(database, use_case)
        months = {as_of for index, (_, as_of, _) in enumerate(added) if index not in withdrawn}
        assert {key: row for key, row in rows.items() if key[0] in months} == {
            (as_of, machine): brute_force(known, aggregations, as_of, machine)
            for as_of in months
            for machine in MACHINES
        }
        known_then[moment] = rows
    for moment, rows in known_then.items():
        assert found(database, use_case, moment) == rows


def total(added: list[tuple[int, date, Counter[Event]]], withdrawn: set[int]) -> Counter[Event]:
    counted: Counter[Event] = Counter()
    for index, (_, _, events) in enumerate(added):
        if index not in withdrawn:
            counted += events
    return counted


def stop(machine: str, day: date, **values: Any) -> Event:
    moment = datetime(day.year, day.month, day.day, 9, tzinfo=UTC)
    return (machine, moment, values.get("minutes", 1.5), 1, "jam")


def test_a_late_event_corrects_the_months_whose_windows_it_is_in(
    database: Database, names: Callable[[], str], tmp_path: Path
) -> None:
    use_case = use_case_with({"stops_30d": Count(days=30)}, names())
    load(database, use_case, tmp_path / "1", JANUARY, [stop("m-1", JANUARY)], FIRST)
    late = stop("m-2", date(2024, 1, 20))
    later = FIRST + timedelta(days=30)
    ingested = load(database, use_case, tmp_path / "2", FEBRUARY, [late], later)
    assert found(database, use_case, FIRST)[JANUARY, "m-2"] == (0,)
    assert found(database, use_case)[JANUARY, "m-2"] == (1,)
    assert found(database, use_case)[FEBRUARY, "m-2"] == (0,)  # 40 days before
    assert ingested.tables["stops"].changes == [
        "1 event is new",
        "1 row of 2024-01-31 is corrected",
    ]


def test_what_was_withdrawn_is_left_out_of_rows_that_were_recorded_after_it(
    database: Database, names: Callable[[], str], tmp_path: Path
) -> None:
    use_case = use_case_with({"stops_60d": Count(days=60)}, names())
    own = [stop("m-2", JANUARY)]
    late = stop("m-1", date(2024, 1, 20))
    day = timedelta(days=1)
    load(database, use_case, tmp_path / "1", JANUARY, own, FIRST)
    wrong = load(database, use_case, tmp_path / "2", MARCH, [late], FIRST + day)
    own_of_february = [stop("m-2", FEBRUARY)]
    load(database, use_case, tmp_path / "3", FEBRUARY, own_of_february, FIRST + 2 * day)
    assert found(database, use_case)[FEBRUARY, "m-1"] == (1,)
    withdraw(database, use_case, wrong.ingestion_id, "wrong", FIRST + 3 * day, "ada")
    load(database, use_case, tmp_path / "4", JANUARY, own, FIRST + 4 * day)
    assert found(database, use_case)[FEBRUARY, "m-1"] == (0,)
    assert found(database, use_case, FIRST + 2 * day)[FEBRUARY, "m-1"] == (1,)


def test_a_month_without_a_file_of_events_has_no_rows_of_them(
    database: Database, names: Callable[[], str], tmp_path: Path
) -> None:
    use_case = use_case_with(EVER, names())
    machines, stops, failures = use_case.tables()
    before = replace(use_case, tables=lambda: (machines, failures))
    load(database, before, tmp_path / "1", JANUARY, [], FIRST)
    # The first file of February has an event of January: of the others nobody knows.
    load(database, use_case, tmp_path / "2", FEBRUARY, [stop("m-1", JANUARY)], FIRST)
    assert {as_of for as_of, _ in found(database, use_case)} == {FEBRUARY}
    load(database, use_case, tmp_path / "3", JANUARY, [], FIRST)
    assert found(database, use_case)[JANUARY, "m-1"][-1] == 0  # days since
    assert stops.events is not None


def test_a_new_aggregation_is_made_for_all_months_at_the_next_ingestion(
    database: Database, names: Callable[[], str], tmp_path: Path
) -> None:
    use_case = use_case_with({"stops_30d": Count(days=30)}, names())
    load(database, use_case, tmp_path / "1", JANUARY, [stop("m-1", date(2024, 1, 30))], FIRST)
    load(database, use_case, tmp_path / "2", FEBRUARY, [], FIRST)
    more = {"stops_30d": Count(days=30), "stops_60d": Count(days=60)}
    other = use_case_with(more, use_case.name)
    prepare_history(database, other)  # as `apply` does it before
    ingested = load(database, other, tmp_path / "3", MARCH, [], FIRST + timedelta(days=1))
    assert ingested.tables["stops"].corrected == {"2024-01-31": 2, "2024-02-29": 2}
    assert found(database, other)[JANUARY, "m-1"] == (1, 1)
    assert found(database, other)[FEBRUARY, "m-1"] == (0, 1)
    recorded = recorded_ingestions(database, other)
    assert recorded[-1].months == {JANUARY, FEBRUARY, MARCH}
    nothing = unrecorded_months(database, other, "stops", {"stops_60d": "stops_60d"}, FOR_EVER)
    assert nothing == {}


@pytest.mark.parametrize("change", [Count(days=60), Sum("minutes", days=30)])
def test_an_aggregation_that_is_changed_is_refused_with_what_to_write(
    database: Database, names: Callable[[], str], tmp_path: Path, change: Any
) -> None:
    use_case = use_case_with({"stops_30d": Count(days=30)}, names())
    load(database, use_case, tmp_path / "1", JANUARY, [stop("m-1", JANUARY)], FIRST)
    other = use_case_with({"stops_30d": change}, use_case.name)
    with pytest.raises(InvalidSettings) as refused:
        history_plan(database, other)
    assert "was Count(days=30)" in str(refused.value)
    assert '"stops_30d_2"' in str(refused.value.next)
    with pytest.raises(InvalidSettings):
        load(database, other, tmp_path / "2", FEBRUARY, [], FIRST)


def test_an_aggregation_gets_another_name_and_means_the_same(
    database: Database, names: Callable[[], str], tmp_path: Path
) -> None:
    use_case = use_case_with({"stops": Count(days=30)}, names())
    load(database, use_case, tmp_path / "1", JANUARY, [stop("m-1", JANUARY)], FIRST)
    tables = use_case_with({"stops_30d": Count(days=30)}, use_case.name).tables()
    named = (tables[0], replace(tables[1], renamed_from={"stops_30d": "stops"}), tables[2])
    other = replace(use_case, tables=lambda: named)
    load(database, other, tmp_path / "2", FEBRUARY, [], FIRST + timedelta(days=1))
    assert found(database, other)[JANUARY, "m-1"] == (1,)
    widened = use_case_with({"stops_30d": Count(days=31)}, use_case.name).tables()
    with pytest.raises(InvalidSettings, match="days=31"):
        history_plan(database, replace(use_case, tables=lambda: widened))


def test_the_same_file_again_adds_no_event_and_no_row(
    database: Database, names: Callable[[], str], tmp_path: Path
) -> None:
    use_case = use_case_with(EVER, names())
    twice = [stop("m-1", JANUARY), stop("m-1", JANUARY)]
    load(database, use_case, tmp_path, JANUARY, twice, FIRST)
    again = load(database, use_case, tmp_path, JANUARY, twice, FIRST + timedelta(days=1))
    assert again.tables["stops"].added == 0
    assert again.tables["stops"].changes[0] == "0 events are new"
    assert found(database, use_case)[JANUARY, "m-1"][0] == 2


@pytest.mark.parametrize(
    ("moment", "rule"),
    [
        ("2024-01-20T10:00:00", "offset from UTC"),
        ("2024-02-31T10:00:00Z", "a moment as"),
        ("2024-02-01T00:00:00Z", "an event isn't later than the as_of"),
    ],
)
def test_a_moment_without_an_offset_an_impossible_one_and_a_later_one_are_refused(
    database: Database, names: Callable[[], str], tmp_path: Path, moment: str, rule: str
) -> None:
    use_case = use_case_with(EVER, names())

    class Written(datetime):
        def isoformat(self, *_: Any, **__: Any) -> str:
            return moment

    event = ("m-1", Written(2024, 1, 20, tzinfo=UTC), 1.0, 1, "jam")
    with pytest.raises(ContractViolation) as refused:
        load(database, use_case, tmp_path, JANUARY, [event], FIRST)
    assert rule in str(refused.value)


def test_a_file_without_a_header_is_no_month_in_which_nothing_happened(
    database: Database, names: Callable[[], str], tmp_path: Path
) -> None:
    use_case = use_case_with(EVER, names())
    load(database, use_case, tmp_path, JANUARY, [], FIRST)
    (tmp_path / "stops.csv").write_text("")
    with pytest.raises(ContractViolation, match="a header"):
        ingest(database, use_case, tmp_path, JANUARY, FIRST, NOW, "ada", tmp_path / "reports")


def test_other_columns_of_events_are_refused_with_what_to_do(
    database: Database, names: Callable[[], str], tmp_path: Path
) -> None:
    use_case = use_case_with(EVER, names())
    load(database, use_case, tmp_path, JANUARY, [stop("m-1", JANUARY)], FIRST)
    machines, stops, failures = use_case.tables()
    assert stops.events is not None
    fewer = replace(stops.events, contract=stops.events.contract.remove_columns(["reason"]))
    other = replace(use_case, tables=lambda: (machines, replace(stops, events=fewer), failures))
    with pytest.raises(InvalidSettings, match="reason"):
        load(database, other, tmp_path, JANUARY, [stop("m-1", JANUARY)], FIRST)


def test_the_events_of_a_forgotten_person_are_gone_and_do_not_come_back(
    database: Database, names: Callable[[], str], tmp_path: Path
) -> None:
    use_case = use_case_with(EVER, names())
    events = [stop("m-1", JANUARY), stop("m-2", JANUARY)]
    load(database, use_case, tmp_path, JANUARY, events, FIRST)
    (person,) = forget_rows(database, use_case, ["m-1"], "asked", "ada", NOW, b"s" * 32)
    assert person.tables[f"{use_case.name}.stops_events"] == 1
    again = load(database, use_case, tmp_path, JANUARY, events, FIRST + timedelta(days=1))
    assert again.tables["stops"].forgotten == 1
    rows = execute(database, f"SELECT DISTINCT machine_id FROM {use_case.name}.stops_events")
    assert [row["machine_id"] for row in rows] == ["m-2"]
