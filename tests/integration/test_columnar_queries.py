"""What is asked of history has in DuckDB the answers that it has in PostgreSQL.

`STREAMFLOW_LONG_TESTS` draws hundreds of random histories instead of a few.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.changing_case import ENTITIES, ITEMS, KEY, LABEL, OUTCOMES, use_case
from tests.columnar_history import (
    FEBRUARY,
    JANUARY,
    TABLES,
    Ingestion,
    new_case,
    opened,
    plain,
    stored,
    write,
)

from streamflow.columnar.session import READS_HISTORY
from streamflow.features import entity_sample
from streamflow.history.as_of import event_timestamp
from streamflow.history.history_table import content_columns
from streamflow.history.labels import known_labels
from streamflow.history.withdrawals.known_rows import FOR_EVER, known_rows
from streamflow.monitoring.reading import month_rows
from streamflow.monitoring.reading.data_facts import data_facts
from streamflow.monitoring.reading.feature_counts import feature_counts
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, identifier, literal, subquery
from streamflow.training.served_model import Feature
from streamflow.use_case import Table, UseCase

pytestmark = pytest.mark.history_in_postgres("a history in PostgreSQL is copied to Parquet")

LONG = bool(os.environ.get("STREAMFLOW_LONG_TESTS"))
MONTHS = (JANUARY, FEBRUARY)
# The last microsecond of both months, and days about the end of a horizon after them.
MOMENTS = [*map(event_timestamp, MONTHS), *(datetime(2024, 3, n, 9, tzinfo=UTC) for n in (1, 2, 9))]
READINGS = "readings"
ENTITY_NAMES = ["a", "b", "B", "ä", "a\u0308", "it's", "%(x)s", "a\\b", "{a}", "10", "9"]
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "age": st.none() | st.sampled_from([0, -1, 2**63 - 1, -(2**63)]),
    "kind": st.sampled_from(["", "x", "X", "\u00e9", "e\u0301"]),
    "heat": st.none() | st.sampled_from([0.0, -0.0, 5e-324, 0.1, float("nan"), float("-inf")]),
    "on": st.none() | st.booleans(),
    LABEL: st.none() | st.booleans(),
}
OF_MONITORING = {
    *("rows_by_month", "entities_by_month", "compare_entities", "same_rows_of_months"),
    *("count_rows", "count_features", "summarize_features", "feature_quantiles"),
    *("judged_scores", "validation_rows"),
}


@st.composite
def histories(draw: st.DrawFn) -> list[Ingestion]:
    contents = {table.name: content_columns(use_case(ITEMS), table) for table in TABLES}
    found: list[Ingestion] = []
    when = st.tuples(st.sampled_from(MONTHS), st.sampled_from(MOMENTS))
    for as_of, recorded_at in draw(st.lists(when, min_size=1, max_size=6, unique=True)):
        one = Ingestion(as_of, recorded_at)
        for table in draw(st.lists(st.sampled_from([*contents]), min_size=1, unique=True)):
            names = st.sampled_from(ENTITY_NAMES)
            values = st.fixed_dictionaries({name: VALUES[name] for name in contents[table]})
            one.rows[table] = draw(st.dictionaries(names, values, max_size=6))
            others = [name for name in ENTITY_NAMES if name not in one.rows[table]]
            one.absent[table] = draw(st.lists(st.sampled_from(others), max_size=2, unique=True))
        one.withdrawn_at = draw(st.none() | st.none() | st.sampled_from(MOMENTS))
        found.append(one)
    return found


LABELLED = [(MOMENTS[2], {"a": True, "b": False}), (MOMENTS[3], {"a": False, "9": True})]
CORRECTED = [
    Ingestion(JANUARY, recorded_at, {OUTCOMES: {name: {LABEL: it} for name, it in labels.items()}})
    for recorded_at, labels in (*LABELLED, (MOMENTS[4], {"a": True}))
]
CORRECTED[0].rows[ENTITIES] = {name: {"kind": "x"} for name in ENTITY_NAMES}


@pytest.fixture(scope="module")
def database(new_database: Callable[..., str], prepared_database: str) -> Iterator[Database]:
    with Database(new_database(prepared_database)) as made:
        yield made


Answers = dict[str, object]


def answers(database: Database, case: UseCase, known_at: datetime) -> Answers:
    """By query of history and its values, the rows; in their order where the query has one."""
    entity_table = known_rows(database, case, Table.history_of(ENTITIES), known_at)
    names: dict[str, Composable] = {
        "key": identifier(KEY),
        "label": identifier(LABEL),
        "entity_history": entity_table,
        "label_history": known_labels(database, case, known_at),
        "all_labels": known_rows(database, case, Table.history_of(OUTCOMES), known_at),
        "history": known_rows(database, case, Table.history_of(READINGS), known_at),
        "known_history": entity_table,
    }
    found: Answers = {}

    def ask(name: str, parts: Mapping[str, Composable], *, ordered: bool = False, **values: Any):  # type: ignore[no-untyped-def]
        rows = [plain(row) for row in database.rows(name, parts, **values)]
        key = f"{name} {values} {sorted(parts.keys() - names.keys())}"
        found[key] = rows if ordered else sorted(rows)

    for months in ([JANUARY], [*MONTHS]):
        these = {"as_ofs": months, "known_at": known_at}
        for name in ("entity_rows", "count_entities", "count_null_labels"):
            ask(name, names, **these)
        ask("count_premature_labels", names, **these, horizon=timedelta(days=1))
        for last in (0, 3):
            ask("entity_hashes", names, ordered=True, **these, last=last)
        drawn = entity_sample.draw(database, names, months, known_at, 3)
        found[f"sample {months}"] = drawn
        sampled = entity_sample.sampled(database, names, drawn)
        rows = database.rows("entity_rows", sampled, **these)
        found[f"sampled {months}"] = sorted(map(plain, rows))
        asked = {**names, "query": subquery(database.render("entity_rows", names, **these))}
        ask("count_labelled", asked)
        for ttl in (None, timedelta(0), timedelta(days=29)):
            ask("entities_without_row", asked, ttl=ttl, known_at=known_at)
            for ingestions in ([], [*range(1, 10_000, 2)]):
                values = {"ttl": ttl, "known_at": known_at, "ingestions": ingestions}
                ask("rows_of_ingestions", asked, ordered=True, **values)
    for as_of in MONTHS:
        these = {"as_of": as_of, "known_at": known_at}
        for name in ("label_exists", "entities_with_label", "entities_at"):
            ask(name, names, **these)
        ask("month_is_known", names, as_of=as_of)
        of_column = {**names, "column": identifier("on")}
        ask("segment_values", of_column, **these)
        ask("segment_values_before", of_column, **these, entities=ENTITY_NAMES)
    ask("oldest_event", names)
    for end in map(event_timestamp, MONTHS):
        for name in ("newest_event", "count_window"):
            ask(name, names, end=end, known_at=known_at)
        for departed_after in (None, timedelta(days=28), timedelta(days=29)):
            ask("absent_entities", names, month=end, departed_after=departed_after)
    for name in ("labelled_months", "count_month_labels"):
        ask(name, names, ordered=True, known_at=known_at)
    ask("labels_after", names, as_ofs=[JANUARY], since=JANUARY, known_at=known_at)
    return found | monitored(database, case, known_at)


def monitored(database: Database, case: UseCase, known_at: datetime) -> Answers:
    """What monitoring counts."""
    history = month_rows.history(database, case, known_at)
    facts = {f"facts of {as_of}": repr(data_facts(history, as_of)) for as_of in MONTHS}
    readings = Table.history_of(READINGS)
    features = [
        Feature(name, "readings_fv", kind, nullable=True, max_age_seconds=None)
        for name, kind in (("heat", "FLOAT64"), ("on", "BOOL"))
    ]
    bins = {"heat": (-1.0, 0.1, 0.5, 1.0), "on": None}
    counts = {
        f"counts of {months}": repr(feature_counts(history, readings, features, bins, months))
        for months in ([JANUARY], [*MONTHS])
    }
    rows = history.rows(readings, ["heat"], MONTHS)
    heat = {"number": literal("heat"), "column": identifier("heat")}
    value = subquery(database.render("one_number", heat))
    quantiles = {
        f"quantiles {every}": repr(
            database.rows(
                "feature_quantiles",
                {"rows": rows, "key": identifier(KEY), "values": value},
                levels=[0.01, 0.25, 0.5, 0.99],
                every=every,
            )
        )
        for every in (1, 3)
    }
    return facts | counts | quantiles


def test_rows_that_are_given_come_with_their_segments_in_order(
    database: Database, tmp_path: Path
) -> None:
    case_of_this = new_case("given")
    rows = {ENTITIES: {"ä": {"age": 1, "kind": "x"}, "B": {"age": 2, "kind": "y"}}}
    write(database, case_of_this, [Ingestion(JANUARY, MOMENTS[0], rows)])
    found = []
    with opened(database, case_of_this, tmp_path) as session:
        for one in (database, session):
            history = month_rows.history(one, case_of_this, FOR_EVER)
            names = {
                "number": identifier("segment_0"),
                "key": identifier(KEY),
                "column": identifier("kind"),
                "rows": history.rows(Table.history_of(ENTITIES), ["kind"], MONTHS),
            }
            streamed = one.stream(
                "validation_rows",
                {
                    "segments": subquery(one.render("segment_column", names)),
                    "joins": subquery(one.render("segment_join", names)),
                },
                entities=["ä", "c", "B"],
                as_ofs=[JANUARY] * 3,
                probabilities=[0.1, 0.2, -0.0],
                predictions=[0, 1, 0],
                labels=[1, 0, 1],
            )
            found.append(repr(list(streamed)))
    assert found[0] == found[1]
    assert found[0] == "[(-0.0, 0, 1, 'y'), (0.2, 1, 0, None), (0.1, 0, 1, 'x')]"


@pytest.mark.slow
@given(
    ingestions=histories(),
    horizon=st.sampled_from([0, 1]),
    known=st.lists(st.sampled_from([*MOMENTS, FOR_EVER]), min_size=2, max_size=2, unique=True),
)
@hypothesis_settings(
    max_examples=400 if LONG else 5,
    suppress_health_check=[*HealthCheck],
    phases=[Phase.explicit, Phase.generate],
    derandomize=not LONG,
)
@example(ingestions=CORRECTED, horizon=0, known=[MOMENTS[3], FOR_EVER])
def test_each_query_of_history_has_the_rows_that_postgresql_has(
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
    ingestions: list[Ingestion],
    horizon: int,
    known: list[datetime],
) -> None:
    case_of_this = new_case("random", horizon)
    write(database, case_of_this, ingestions)
    home = tmp_path_factory.mktemp("home")
    with opened(database, case_of_this, home) as session:
        for table in TABLES:
            assert stored(session, case_of_this, table) == stored(database, case_of_this, table)
        for known_at in known:
            theirs = answers(database, case_of_this, known_at)
            ours = answers(session, case_of_this, known_at)
            assert {name for name in ours if ours[name] != theirs[name]} == set(), known_at
    # What the others count is in those of monitoring, or reads scores too: see test_engines.py.
    assert {key.partition(" ")[0] for key in ours} >= READS_HISTORY - OF_MONITORING
