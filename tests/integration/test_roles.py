"""Each database role does its work, and tries what it must not do."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr
from tests import promoting, tiny_case
from tests.scored import record_scores
from tests.statements import execute
from typer.testing import CliRunner

from streamflow.bootstrap import platform, production_predictor
from streamflow.cli import main
from streamflow.cli.terminal import operator
from streamflow.errors import AccessRefused, NotPermitted, SchemaTooOld
from streamflow.features import feature_store
from streamflow.history import months
from streamflow.history.history_changes import follow_contract
from streamflow.history.months import AbsentEntities
from streamflow.keys import api_keys
from streamflow.keys.api_keys import Scope
from streamflow.keys.audit import AuditEntry, RejectedRequest
from streamflow.keys.key_sync import DatabaseKeyStore
from streamflow.monitoring import recorded
from streamflow.operations.forgetting import forget
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.evaluate import evaluate
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.pipeline.month.lists import campaign, export_list
from streamflow.pipeline.month.lists.export_list import Choice
from streamflow.pipeline.predict import predict
from streamflow.platform import Platform
from streamflow.postgres import migrations, roles
from streamflow.postgres.database import Database
from streamflow.scores import scorings
from streamflow.scores.campaigns.selection import Limits
from streamflow.scores.everyone import score
from streamflow.scores.scorings import NoScoring
from streamflow.serving import prediction_log_partitions as partitions
from streamflow.serving.postgres_online_store import PostgresStore
from streamflow.serving.prediction_log_rows import Encoder
from streamflow.serving.prediction_log_writer import PredictionWriter
from streamflow.serving.scoring import ScoringRequest, Served
from streamflow.settings import Settings, load_settings
from streamflow.use_case import Count, Events, Generation, Table

pytestmark = pytest.mark.history_in_postgres("rights on tables of PostgreSQL")

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
KNOWN = datetime(2024, 2, 1, 8, tzinfo=UTC)
NOW = datetime(2024, 3, 1, 8, tzinfo=UTC)
ROLES = ("pipeline", "api", "feast", "mlflow", "reader")
PASSWORDS = {name: SecretStr(f'{name}\'s "own" password') for name in ROLES}
OWNER = "an owner"
HISTORY = tiny_case.use_case.name


def as_user(url: str, user: str, password: str) -> str:
    """The same database for another user."""
    return make_conninfo(url, user=user, password=password)


@dataclass(frozen=True)
class Server:
    """A database with roles, and a month, a model and a prediction in it."""

    owner: str
    settings: Settings

    def url(self, role: str) -> str:
        return as_user(self.owner, f"streamflow_{role}", PASSWORDS[role].get_secret_value())

    def open(self, role: str) -> Any:
        """The platform as that role has it."""
        url = SecretStr(self.url(role))
        return platform(self.settings.model_copy(update={"database_url": url}))


@pytest.fixture(scope="module")
def server(
    server_url: str, new_database: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    if "STREAMFLOW_DATABASE_URL" in os.environ:
        pytest.skip("roles are the whole server's, and this one is somebody's")
    url = new_database()
    database = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    owner = sql.Identifier(OWNER)
    with psycopg.connect(server_url, autocommit=True) as connection:
        made = sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB PASSWORD 'owns'").format(owner)
        connection.execute(made)
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, owner))
    url = as_user(url, OWNER, "owns")
    settings = load_settings(
        home=tmp_path_factory.mktemp("a home"), database_url=url, use_case="tests.tiny_case"
    )
    with Database(url) as owned:
        migrations.migrate(owned)
        there = roles.grant(owned, HISTORY, PASSWORDS)
        assert [role.may_connect for role in there] == [True] * 5
        assert roles.grant(owned, HISTORY, {}) == there  # passwords stay
        api_keys.create(owned, api_keys.new_key(), [Scope.READ], "", None, "ann", NOW)
    made = Server(url, settings)
    tiny_case.generate(Generation(settings.home / "months", users=300, months=1, seed=5))
    with made.open("pipeline") as ready:
        do_the_work(ready, settings.home / "months" / "month_000")
    return made


def do_the_work(ready: Platform, month: Path) -> None:
    """All that the pipeline does up to features online and a version in Production."""
    ready.registry.prepare()
    ingest(ready, month, JANUARY, None, KNOWN, "test")
    apply(ready)
    trained = train.train(ready, JANUARY, None, 1, NOW)
    promoting.promote(ready, trained.version, "Production", "a test", "test", NOW)
    evaluate(ready, trained.version, JANUARY, "test", NOW)
    materialize(ready, JANUARY, NOW)


@pytest.fixture
def opened(server: Server) -> Iterator[Callable[[str], Platform]]:
    with ExitStack() as stack:
        yield lambda role: stack.enter_context(server.open(role))


def test_the_pipeline_may_repeat_its_work_and_read_its_models(
    opened: Callable[[str], Platform], server: Server
) -> None:
    ready = opened("pipeline")
    month = server.settings.home / "months" / "month_000"
    ingest(ready, month, JANUARY, None, NOW, "test")
    apply(ready)
    assert predict(production_predictor(ready), "m-0001", NOW)["prediction"] in (0, 1)
    assert [run.status for run in ready.registry.runs()] == ["FINISHED"]


def test_the_pipeline_exports_lists_and_records_contacts(
    opened: Callable[[str], Platform], tmp_path: Path
) -> None:
    ready = opened("pipeline")
    model = tiny_case.use_case.registered_model
    scores = {f"m-{one:04}": one / 100 for one in range(100)}
    record_scores(ready.database, scores, model=model, known_at=NOW)
    choice = Choice(JANUARY, Limits(top=20))
    done = export_list.export_list(ready, choice, "ann", NOW, lambda _: None)
    assert (done.listed, done.recorded) == (20, True)
    file = tmp_path / "contacts.csv"
    file.write_text("machine_id\nm-0099\n")
    assert campaign.record(ready, file, None, "ann", NOW).contacts.added == 1
    (found,) = campaign.effects(ready, NOW)
    assert found.effect.outcome == "can't tell"


def test_the_api_reads_features_and_models_and_appends(
    opened: Callable[[str], Platform], server: Server
) -> None:
    ready = opened("api")
    predictor = production_predictor(ready)
    assert isinstance(PostgresStore(ready.database, ready.use_case).newest_event_timestamps(), dict)
    assert predictor.served is not None
    answer = predictor.predict("m-0001", NOW)
    absent = months.recorded_absent_entities(ready.database, ready.use_case)
    assert absent == AbsentEntities(JANUARY, entities=300, absent=0, departed=None)
    # Also which months were withdrawn.
    assert recorded.newest_month(ready.database, ready.use_case) is None
    with suppress(NoScoring):
        scorings.newest(ready.database, ready.use_case)
    store = DatabaseKeyStore(ready.database)
    assert store.all_keys()[0].key_id == 1
    store.record([AuditEntry(RejectedRequest("key_unknown"), NOW, NOW, 3)])
    writer = PredictionWriter(ready.database, 7, lambda: NOW)
    writer.prepare()
    served: Served = predictor.served
    for _ in range(2):
        writer.write([Encoder().rows(served, [ScoringRequest("m-0001", "one")], [answer], NOW)])
    # It makes the log's days and doesn't end them: the pipeline does.
    with Database(server.owner) as owned:
        partitions.create_partitions(owned, [NOW.date() - timedelta(days=100)])
        assert partitions.drop_partitions_before(ready.database, NOW.date()) == []
        assert len(partitions.partition_days(owned)) == 3
        materialize(opened("pipeline"), JANUARY, NOW)
        assert len(partitions.partition_days(owned)) == 2
        logged = execute(owned, "SELECT count(*) AS rows FROM streamflow.predictions")
        assert logged.fetchone() == {"rows": 2}


def test_the_pipeline_promotes_in_a_keys_name_and_writes_down_whom_it_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, reading = api_keys.new_key(), api_keys.new_key()
    with Database(server.owner) as owned:
        key = api_keys.create(owned, release, [Scope.PROMOTE], "release", None, "ann", NOW)
        api_keys.create(owned, reading, [Scope.READ], "", None, "ann", NOW)
    monkeypatch.setenv("STREAMFLOW_HOME", str(server.settings.home))
    monkeypatch.setenv("STREAMFLOW_DATABASE_URL", server.url("pipeline"))
    monkeypatch.setenv("STREAMFLOW_USE_CASE", "tests.tiny_case")
    promote = ["promote", "1", "--to", "production", "--why", "a test", "--json"]
    rollback = ["rollback", "--why", "a test", "--json"]
    run = CliRunner().invoke

    monkeypatch.setenv("STREAMFLOW_PROMOTE_KEY", release)
    assert json.loads(run(main.app, promote).stdout)["who"] == f"key {key.key_id} (release)"
    monkeypatch.setenv("STREAMFLOW_PROMOTE_KEY", reading)
    for command in (promote, rollback):
        refused = run(main.app, command).exception
        assert isinstance(refused, AccessRefused)
        assert refused.code == "scope_missing"
    monkeypatch.setenv("STREAMFLOW_PROMOTE_KEY", "")
    assert json.loads(run(main.app, promote).stdout)["who"] == operator()
    with psycopg.connect(server.owner) as connection:
        lines = connection.execute(
            "SELECT route, method, client FROM streamflow.audit WHERE code = 'scope_missing'"
        ).fetchall()
    assert sorted(lines) == [
        ("streamflow promote", "command", operator()),
        ("streamflow rollback", "command", operator()),
    ]


def test_feast_reads_its_registry_and_what_is_online(server: Server) -> None:
    store = feature_store.open_store(server.url("feast"), tiny_case.use_case)
    names = [
        f"{view.name}:{field.name}"
        for view in store.list_feature_views()
        for field in view.features
    ]
    found = store.get_online_features(names, [{"machine_id": "m-0001"}]).to_dict()
    assert found.pop("machine_id") == ["m-0001"]
    assert all(values != [None] for values in found.values())


def test_mlflow_has_a_database_of_its_own(server: Server) -> None:
    url = as_user(server.owner, "streamflow_mlflow", PASSWORDS["mlflow"].get_secret_value())
    with psycopg.connect(make_conninfo(url, dbname="mlflow")) as connection:
        connection.execute("CREATE TABLE of_its_own (row integer)")
        connection.rollback()
    for role in ("pipeline", "api", "feast", "reader"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(make_conninfo(server.url(role), dbname="mlflow"))
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(server.url("mlflow"))


def test_a_reader_reads(server: Server) -> None:
    with psycopg.connect(server.url("reader")) as connection:
        for table in (
            *("streamflow.model_history", "streamflow.model_events", "streamflow.event_deliveries"),
            *("streamflow.promotions", "streamflow.predictions", "streamflow.audit"),
            "streamflow.evaluations",
            *("mlflow.runs", "feast.feature_views", "streamflow.migrations"),
            *(first_table(connection, "online"), first_table(connection, HISTORY)),
        ):
            connection.execute(f"TABLE {table}")  # type: ignore[arg-type]
        connection.execute("SELECT key_id, name, scopes FROM streamflow.api_keys")


def first_table(connection: psycopg.Connection[Any], schema: str) -> str:
    found = connection.execute(
        "SELECT min(oid::regclass::text) FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)",
        [schema],
    ).fetchone()
    assert found is not None
    assert found[0]
    return str(found[0])


def made_change(kind: str) -> str:
    """A change of another model's history."""
    return (
        "SELECT streamflow.record_model_change("
        f"'another', now(), '{kind}', '', '', 1, '', '', 'None', 'Production', NULL, '{{}}')"
    )


def noticed_change(kind: str) -> str:
    return made_change(kind).replace("record_model_change", "record_noticed_change")


APPEND = (
    made_change("promoted")
    .replace("record_model_change", "append_model_history")
    .replace("'{}')", "'{}', false)")
)
EVERYBODY = ("pipeline", "api", "feast", "reader")
# What a month leaves, with a column of each.
OF_A_MONTH = {
    "scorings": "scored_by",
    "scores": "rank",
    "unscored": "problem",
    "explanations": "base",
    "reasons": "sentence",
    "unexplained": "error",
    "monitorings": "entities",
    "monitored_figures": "figures",
    "alarms": "sentence",
    "alarm_events": "payload",
    "month_runs": "outcome",
}
FORBIDDEN = {
    **{f"DELETE FROM streamflow.{table}": EVERYBODY for table in OF_A_MONTH},
    **{f"TRUNCATE streamflow.{table}": EVERYBODY for table in OF_A_MONTH},
    **{
        f"UPDATE streamflow.{table} SET {column} = NULL": EVERYBODY
        for table, column in OF_A_MONTH.items()
    },
    "CREATE ROLE another": EVERYBODY,
    "ALTER ROLE streamflow_api CREATEROLE": EVERYBODY,
    'SET ROLE "an owner"': EVERYBODY,
    "CREATE DATABASE another": EVERYBODY,
    "CREATE SCHEMA another": EVERYBODY,
    "CREATE TABLE public.another (row integer)": EVERYBODY,
    "CREATE TABLE streamflow.another (row integer)": EVERYBODY,
    "DROP TABLE streamflow.predictions": EVERYBODY,
    "TRUNCATE streamflow.predictions": EVERYBODY,
    "DELETE FROM streamflow.predictions": EVERYBODY,
    "UPDATE streamflow.predictions SET prediction = 1": EVERYBODY,
    "DELETE FROM streamflow.shadow_scores": EVERYBODY,
    "INSERT INTO streamflow.shadow_scores SELECT * FROM streamflow.shadow_scores": (
        *("pipeline", "feast", "reader"),
    ),
    "SELECT * FROM streamflow.shadow_scores": ("api", "feast"),
    "DELETE FROM streamflow.promotions": EVERYBODY,
    "UPDATE streamflow.promotions SET why = ''": EVERYBODY,
    "INSERT INTO streamflow.promotions (promoted_at, promoted_by, model, version, action, "
    "from_stage, to_stage, why, verdict) VALUES (now(), 'ann', 'm', 1, 'promote', '', '', '', "
    "'{}')": EVERYBODY,
    "DELETE FROM streamflow.model_history": EVERYBODY,
    "UPDATE streamflow.model_history SET why = ''": EVERYBODY,
    "TRUNCATE streamflow.model_history": EVERYBODY,
    "INSERT INTO streamflow.model_history TABLE streamflow.model_history": EVERYBODY,
    "UPDATE streamflow.model_events SET hash = ''": EVERYBODY,
    "DELETE FROM streamflow.model_events": EVERYBODY,
    "INSERT INTO streamflow.model_events TABLE streamflow.model_events": EVERYBODY,
    "DELETE FROM streamflow.event_deliveries": EVERYBODY,
    "UPDATE streamflow.event_deliveries SET delivered = true": EVERYBODY,
    "SELECT * FROM streamflow.model_history": ("feast",),
    APPEND: EVERYBODY,
    made_change("promoted"): ("api", "feast", "reader"),
    noticed_change("promoted"): EVERYBODY,
    noticed_change("approved"): EVERYBODY,
    noticed_change("changed elsewhere"): ("pipeline", "feast", "reader"),
    "DELETE FROM streamflow.lists": EVERYBODY,
    "UPDATE streamflow.listed SET held_out = false": EVERYBODY,
    "DELETE FROM streamflow.listed": EVERYBODY,
    "UPDATE streamflow.contacts SET contacted_on = NULL": EVERYBODY,
    "DELETE FROM streamflow.contacts": EVERYBODY,
    "TRUNCATE streamflow.contacts": EVERYBODY,
    "SELECT * FROM streamflow.listed": ("api", "feast"),
    "DELETE FROM streamflow.evaluations": EVERYBODY,
    "UPDATE streamflow.evaluations SET version = 2": EVERYBODY,
    "TRUNCATE streamflow.evaluations": EVERYBODY,
    "INSERT INTO streamflow.evaluations OVERRIDING SYSTEM VALUE TABLE streamflow.evaluations": (
        EVERYBODY
    ),
    "SELECT * FROM streamflow.evaluations": ("api", "feast"),
    "DELETE FROM streamflow.audit": EVERYBODY,
    "UPDATE streamflow.ingestions SET ingested_by = ''": EVERYBODY,
    "DELETE FROM streamflow.migrations": EVERYBODY,
    "INSERT INTO streamflow.migrations (number, name, sha256) VALUES (99, '', '')": EVERYBODY,
    "INSERT INTO streamflow.api_keys DEFAULT VALUES": EVERYBODY,
    "INSERT INTO streamflow.api_key_revocations VALUES (1, now(), '')": EVERYBODY,
    "DELETE FROM streamflow.api_key_revocations": EVERYBODY,
    "SELECT key_hash FROM streamflow.api_keys": ("feast", "reader"),
    "COPY (SELECT 1) TO PROGRAM 'true'": EVERYBODY,
    "SELECT pg_read_file('PG_VERSION')": EVERYBODY,
    "INSERT INTO streamflow.promotions OVERRIDING SYSTEM VALUE TABLE streamflow.promotions": (
        EVERYBODY
    ),
    "INSERT INTO streamflow.predictions SELECT * FROM streamflow.predictions": (
        *("pipeline", "feast", "reader"),
    ),
    "SELECT * FROM streamflow.predictions": ("api", "feast"),
    "SELECT * FROM streamflow.promotions": ("api", "feast"),
    "SELECT * FROM streamflow.audit": ("pipeline", "api", "feast"),
    "SELECT streamflow.drop_prediction_partition('2024-03-01')": ("api", "feast", "reader"),
    "SELECT streamflow.create_prediction_partition('2024-01-01')": ("pipeline", "feast", "reader"),
    "SELECT * FROM {history}": ("api", "feast"),
    "DELETE FROM {history}": EVERYBODY,
    "UPDATE {history} SET recorded_at = now()": EVERYBODY,
    "TRUNCATE {history}": EVERYBODY,
    "DROP TABLE {history}": EVERYBODY,
    "ALTER TABLE {history} ADD COLUMN another text": EVERYBODY,
    "ALTER TABLE {history} OWNER TO CURRENT_USER": EVERYBODY,
    "CREATE TRIGGER another BEFORE INSERT ON {history} FOR EACH ROW EXECUTE FUNCTION "
    "suppress_redundant_updates_trigger()": EVERYBODY,
    "CREATE TABLE failures.another (row integer)": EVERYBODY,
    "SET ROLE streamflow_owner": EVERYBODY,
    "ALTER ROLE streamflow_owner LOGIN": EVERYBODY,
    "SELECT streamflow.drop_prediction_partition(current_date)": EVERYBODY,
    "SELECT streamflow.drop_prediction_partition(current_date - 1)": EVERYBODY,
    "SELECT streamflow.drop_prediction_partition(current_date + 1)": EVERYBODY,
    "SELECT streamflow.create_history('streamflow', 'another_history', 'key', '[]')": EVERYBODY,
    "SELECT streamflow.create_history('pg_catalog', 'another_history', 'key', '[]')": EVERYBODY,
    "SELECT streamflow.create_history('failures', 'x_history', 'key', '[[\"a\", \"xml\"]]')": (
        EVERYBODY
    ),
    "SELECT streamflow.create_history('failures', 'another', 'key', '[]')": EVERYBODY,
    "DELETE FROM failures.machines_history_20240131": EVERYBODY,
    "SELECT streamflow.begin_month('streamflow', 'x_history', '2024-01-31')": EVERYBODY,
    "SELECT streamflow.key_month('streamflow', 'x_history', '2024-01-31', 'key', now())": EVERYBODY,
    "SELECT streamflow.finish_month('streamflow', 'x_history', '2024-01-31', 1)": EVERYBODY,
    "SELECT streamflow.create_month('streamflow', 'x_history', '2024-01-31', 'key')": EVERYBODY,
    "SELECT streamflow.analyze_month('streamflow', 'x_history', '2024-01-31')": EVERYBODY,
    "SELECT streamflow.month_partition('failures', 'machines_history', '2024-01-31')": EVERYBODY,
    "SELECT streamflow.begin_month('failures', 'machines_history', '2030-01-31')": (
        *("api", "feast", "reader"),
    ),
    "SELECT streamflow.create_month('failures', 'machines_history', '2030-02-28', 'machine_id')": (
        *("api", "feast", "reader"),
    ),
    "SELECT streamflow.create_events('streamflow', 'x_events', 'key', 'at', '[]')": EVERYBODY,
    "SELECT streamflow.create_events('pg_catalog', 'x_events', 'key', 'at', '[]')": EVERYBODY,
    "SELECT streamflow.create_events('failures', 'another', 'key', 'at', '[]')": EVERYBODY,
    "SELECT streamflow.create_events('failures', 'x_events', 'key', 'at', '[[\"at\", \"xml\"]]')": (
        EVERYBODY
    ),
    "SELECT streamflow.create_events("
    "'failures', 'x_events', 'key', 'at', '[[\"at\", \"timestamp with time zone\"]]')": (
        *("api", "feast", "reader"),
    ),
    "SELECT streamflow.change_history('streamflow', 'audit', 'added', 'x', NULL, 'text')": (
        EVERYBODY
    ),
    "SELECT streamflow.change_history('failures', 'machines_history', 'added', 'x', NULL, 'xml')": (
        EVERYBODY
    ),
    "SELECT streamflow.change_history("
    "'failures', 'machines_history', 'renamed', 'x', 'machine_id', 'text')": EVERYBODY,
    "SELECT streamflow.change_history("
    "'failures', 'machines_history', 'renamed', 'x', 'ingestion_id', 'bigint')": EVERYBODY,
    "SELECT streamflow.change_history("
    "'failures', 'machines_history', 'widened', 'kind', 'text', 'double precision')": EVERYBODY,
    "SELECT streamflow.change_history("
    "'failures', 'machines_history', 'added', 'x', NULL, 'text')": (*("api", "feast", "reader"),),
    "INSERT INTO streamflow.history_changes (use_case, history, kind, column_name, type) "
    "VALUES ('failures', 'machines_history', 'added', 'x', 'text')": EVERYBODY,
    "DELETE FROM streamflow.history_changes": EVERYBODY,
    "DELETE FROM streamflow.withdrawals": EVERYBODY,
    "DELETE FROM streamflow.absent_entities": EVERYBODY,
    "INSERT INTO streamflow.absent_entities (use_case, month, entities, absent) "
    "VALUES ('failures', '2024-01-31', 1, 1)": ("api", "feast", "reader"),
    "SELECT tables FROM streamflow.ingestions": ("api", "feast"),
    "UPDATE streamflow.absences SET recorded_at = now()": EVERYBODY,
    "SELECT * FROM streamflow.withdrawals": ("api", "feast"),
    "SELECT * FROM streamflow.absences": ("api", "feast"),
    "INSERT INTO streamflow.withdrawals (ingestion_id, recorded_at, withdrawn_by, why, tables) "
    "SELECT ingestion_id, now(), 'ann', '', '{}' FROM streamflow.ingestions": (
        *("api", "feast", "reader"),
    ),
    "INSERT INTO streamflow.withdrawals (ingestion_id, recorded_at, withdrawn_by, why, tables, "
    "written_by) SELECT ingestion_id, now(), 'ann', '', '{}', 'ann' FROM streamflow.ingestions": (
        EVERYBODY
    ),
    "INSERT INTO streamflow.promotions (promoted_at, promoted_by, model, version, action, "
    "from_stage, to_stage, why, verdict, written_by) VALUES "
    "(now(), 'ann', 'm', 1, 'promote', '', '', '', '{}', 'ann')": EVERYBODY,
    "INSERT INTO streamflow.ingestions (ingestion_id, use_case, as_of, recorded_at, ingested_at, "
    "ingested_by, tables, written_at) OVERRIDING SYSTEM VALUE VALUES "
    "(99, 'm', now(), now(), now(), 'ann', '{}', now())": EVERYBODY,
    "DELETE FROM mlflow.model_versions": ("api", "feast", "reader"),
    "SELECT * FROM mlflow.model_versions": ("feast",),
    "DELETE FROM feast.feature_views": ("api", "feast", "reader"),
    "DELETE FROM {online}": ("api", "feast", "reader"),
    "DROP TABLE {online}": ("api", "feast", "reader"),
    "CREATE TABLE online.another (row integer)": ("api", "feast", "reader"),
}


@pytest.mark.parametrize("role", EVERYBODY)
def test_a_role_cant_do_what_it_must_not(server: Server, role: str) -> None:
    allowed = []
    with psycopg.connect(server.url(role), autocommit=True) as connection:
        tables = {
            "{online}": first_table(connection, "online"),
            "{history}": first_table(connection, HISTORY),
        }
        for statement, whose in FORBIDDEN.items():
            if role not in whose:
                continue
            for name, table in tables.items():
                statement = statement.replace(name, table)
            try:
                connection.execute(statement)  # type: ignore[arg-type]
            except psycopg.errors.InsufficientPrivilege:
                continue
            allowed.append(statement)
    assert allowed == []


def test_nobody_logs_in_as_the_owner_of_history_and_the_server_says_who_wrote(
    server: Server,
) -> None:
    with psycopg.connect(server.owner) as connection:
        owners = connection.execute(
            "SELECT DISTINCT pg_get_userbyid(relowner), rolcanlogin FROM pg_class "
            "JOIN pg_roles ON pg_roles.oid = relowner WHERE relkind IN ('r', 'p', 'S') "
            "AND relnamespace IN ('streamflow'::regnamespace, %s::regnamespace)",
            [HISTORY],
        ).fetchall()
        assert owners == [("streamflow_owner", False)]
        functions = connection.execute(
            "SELECT DISTINCT pg_get_userbyid(proowner) FROM pg_proc "
            "WHERE pronamespace = 'streamflow'::regnamespace"
        ).fetchall()
        assert functions == [("streamflow_owner",)]
        for table in ("model_history", "ingestions", "evaluations"):
            written = connection.execute(
                f"SELECT DISTINCT written_by FROM streamflow.{table} WHERE written_at > %s",  # type: ignore[arg-type]
                [NOW],
            ).fetchall()
            assert written == [("streamflow_pipeline",)]


def test_what_a_role_may_not_do_is_told_with_what_to_do(server: Server) -> None:
    with Database(server.url("pipeline")) as database, pytest.raises(NotPermitted) as refused:
        api_keys.create(database, api_keys.new_key(), [Scope.READ], "", None, "ann", NOW)
    assert "'streamflow_pipeline' may not" in refused.value.message


def test_only_who_owns_the_tables_forgets_a_person(server: Server) -> None:
    person = "m-0150"
    with server.open("pipeline") as ready, pytest.raises(NotPermitted, match="owns the tables"):
        forget.forget(ready, [person], "asked for it", "ann", NOW)

    with platform(server.settings) as ready:
        done = forget.forget(ready, [person], "asked for it", "ann", NOW)

    assert any(table.startswith("online.") for table in done.people[0].tables)
    # The owner isn't a superuser: all is gone but for the log, and what is left is told.
    assert [one.what for one in done.left] == ["the write-ahead log"]
    with Database(server.url("reader")) as database, pytest.raises(NotPermitted):
        execute(database, "SELECT salt FROM streamflow.forgotten")
    with server.open("pipeline") as ready:
        month = server.settings.home / "months" / "month_000"
        again = ingest(ready, month, JANUARY, None, NOW, "test")
        new = ingest(ready, month, FEBRUARY, None, NOW, "test", really=True)
    assert {one.forgotten for one in again.tables.values()} == {1}
    # Of a month that history hadn't, rows are taken out of the table that is to be its partition.
    assert {(one.forgotten, one.added) for one in new.tables.values()} == {(1, 299)}
    with (
        psycopg.connect(server.url("pipeline")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("DELETE FROM failures.machines_history_20240229")


def test_a_role_that_may_not_migrate_says_who_may(
    server: Server, new_database: Callable[..., str]
) -> None:
    one_more = migrations.Migration(99, "one_more", "CREATE TABLE streamflow.more (row integer)")
    known = (*migrations.migrations(), one_more)
    with Database(server.url("api")) as database:
        assert migrations.migrate(database) == []
        with pytest.raises(SchemaTooOld) as refused:
            migrations.apply(database, known)
    assert "0099_one_more" in refused.value.message
    assert "streamflow migrate" in refused.value.next


def test_a_password_is_changed_by_granting_again(server: Server) -> None:
    new = {**PASSWORDS, "reader": SecretStr("another one")}
    old_url = server.url("reader")
    new_url = as_user(server.owner, "streamflow_reader", "another one")
    with Database(server.owner) as owned:
        roles.grant(owned, HISTORY, new)
        psycopg.connect(new_url).close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(old_url)
        roles.grant(owned, HISTORY, PASSWORDS)
        psycopg.connect(old_url).close()


def test_roles_may_come_after_the_tables(
    server: Server, new_database: Callable[..., str], server_url: str, tmp_path: Path
) -> None:
    """As when somebody who had one user for everything sets them up."""
    url = new_database()
    settings = load_settings(home=tmp_path, database_url=url, use_case="tests.tiny_case")
    with platform(settings) as ready:
        ingest(ready, server.settings.home / "months" / "month_000", JANUARY, None, KNOWN, "test")
        apply(ready)
        materialize(ready, JANUARY, NOW)
        roles.grant(ready.database, HISTORY, PASSWORDS)
    url = as_user(url, "streamflow_pipeline", PASSWORDS["pipeline"].get_secret_value())
    theirs = settings.model_copy(update={"database_url": SecretStr(url)})
    with platform(theirs) as ready:
        apply(ready)
        materialize(ready, JANUARY, NOW)


def test_history_of_before_there_were_partitions_is_migrated_and_goes_on_with_its_roles(
    server: Server, new_database: Callable[..., str], server_url: str, tmp_path: Path
) -> None:
    url = new_database()
    database = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    with psycopg.connect(server_url, autocommit=True) as connection:
        owner = sql.Identifier(OWNER)
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, owner))
    with Database(as_user(url, OWNER, "owns")) as owned:
        migrations.apply(owned, migrations.migrations()[:26])
        for table in tiny_case.tables():
            with owned.transaction():
                follow_contract(owned, tiny_case.use_case, table)
        owned.script(
            "INSERT INTO failures.machines_history (machine_id, as_of, recorded_at, ingestion_id) "
            "VALUES ('m-0001', '2023-12-31', '2024-01-02Z', 1);"
            "ALTER SCHEMA failures OWNER TO streamflow_owner;"
            "ALTER TABLE failures.machines_history OWNER TO streamflow_owner;"
            "GRANT SELECT, INSERT ON failures.machines_history TO streamflow_pipeline"
        )
        migrations.migrate(owned)
        kept = execute(
            owned,
            "SELECT pg_get_userbyid(relowner) AS owner, relkind::text AS kind, "
            "has_table_privilege('streamflow_pipeline', oid, 'INSERT') AS may_insert "
            "FROM pg_class WHERE oid = 'failures.machines_history'::regclass",
        ).fetchone()
        assert kept == {"owner": "streamflow_owner", "kind": "p", "may_insert": True}
        roles.grant(owned, HISTORY, PASSWORDS)
    url = as_user(url, "streamflow_pipeline", PASSWORDS["pipeline"].get_secret_value())
    settings = load_settings(home=tmp_path, database_url=url, use_case="tests.tiny_case")
    with platform(settings) as ready:
        month = server.settings.home / "months" / "month_000"
        ingested = ingest(ready, month, JANUARY, None, NOW, "test").tables
        counted = execute(
            ready.database,
            "SELECT tableoid::regclass::text AS part, count(*) AS rows "
            "FROM failures.machines_history GROUP BY 1 ORDER BY 1",
        ).fetchall()
    assert [(row["part"], row["rows"]) for row in counted] == [
        ("failures.machines_history_20240131", ingested["machines"].rows),
        ("failures.machines_history_before", 1),
    ]


def test_a_role_that_owns_no_table_brings_history_to_a_changed_contract(
    server: Server, opened: Callable[[str], Platform], tmp_path: Path
) -> None:
    from pandera.pandas import Column, DataFrameSchema

    def tables() -> tuple[Table, ...]:
        machines, *others = tiny_case.tables()
        contract = machines.contract.add_columns(
            {"maker": Column("string", nullable=True, required=False)}
        )
        stop = {"machine_id": Column("string"), "at": Column("datetime64[us, UTC]")}
        events = Events(DataFrameSchema(stop), "machine_id", "at", {"stops_30d": Count(days=30)})
        return replace(machines, contract=contract), Table("stops", events=events), *others

    ready = opened("pipeline")
    changed = replace(ready, use_case=replace(ready.use_case, tables=tables))
    apply(changed)
    materialize(changed, JANUARY, NOW)
    month = tmp_path / "month"
    shutil.copytree(server.settings.home / "months" / "month_000", month)
    (month / "stops.csv").write_text("machine_id,at\nm-0001,2024-01-31T12:00:00Z\n")
    ingested = ingest(changed, month, JANUARY, None, NOW, "test").tables
    assert ingested["machines"].added == 0
    assert ingested["stops"].added == ingested["machines"].rows
    with psycopg.connect(server.url("pipeline"), autocommit=True) as connection:
        for change in ("DELETE FROM {}", "UPDATE {} SET at = now()", "TRUNCATE {}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(change.format("failures.stops_events"))  # type: ignore[arg-type]
    with psycopg.connect(server.url("reader")) as connection:
        found = connection.execute("SELECT machine_id FROM failures.stops_events").fetchall()
    assert found == [("m-0001",)]
    with psycopg.connect(server.owner) as connection:
        written = connection.execute(
            "SELECT column_name, changed_by FROM streamflow.history_changes"
        ).fetchall()
    assert written == [("maker", "streamflow_pipeline")]


def test_each_role_does_its_work_with_history_in_iceberg(
    server: Server, server_url: str, new_database: Callable[..., str], tmp_path: Path
) -> None:
    url = new_database()
    names = (sql.Identifier(str(conninfo_to_dict(url)["dbname"])), sql.Identifier(OWNER))
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(*names))
    url = as_user(url, OWNER, "owns")
    with Database(url) as owned:
        migrations.migrate(owned)
        roles.grant(owned, HISTORY, PASSWORDS)
    settings = load_settings(
        home=tmp_path / "home",
        database_url=url,
        use_case="tests.tiny_case",
        engine="duckdb",
        history=f"file://{tmp_path}/histories",
    )
    elsewhere = Server(url, settings)
    month = server.settings.home / "months" / "month_000"
    with elsewhere.open("pipeline") as ready:
        do_the_work(ready, month)
        assert score(ready, JANUARY, "test", NOW).scoring.entities == 300
        again = ingest(ready, month, JANUARY, None, NOW, "test").tables
        assert {table.added for table in again.values()} == {0}
    with elsewhere.open("api") as ready:
        assert predict(production_predictor(ready), "m-0001", NOW)["prediction"] in (0, 1)
        absent = months.recorded_absent_entities(ready.database, ready.use_case)
        assert absent == AbsentEntities(JANUARY, entities=300, absent=0, departed=None)
    for role in ("api", "feast", "reader"):
        with psycopg.connect(elsewhere.url(role), autocommit=True) as connection:
            for change in ("DELETE FROM {}", "UPDATE {} SET metadata_location = ''"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(change.format("streamflow.iceberg_tables"))  # type: ignore[arg-type]
