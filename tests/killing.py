"""Steps of the pipeline that a SIGKILL disturbs, and what is to be seen of them afterwards.

Steps run in processes forked from one that has imported everything, so that an instant hits the
step and not its imports. `STREAMFLOW_TEST_KILLS` is the number of random instants per step (1).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from streamflow.history.history_table import history_location
from streamflow.history.iceberg.session import IcebergSession
from streamflow.postgres.database import Database

KILLS = int(os.environ.get("STREAMFLOW_TEST_KILLS", "1"))
WITHOUT_REGISTRY = ("ingest", "ingest_twice", "materialize", "compact", "move_history")
NO_MODELS: dict[str, Any] = {"versions": [], "runs": []}

# Reads one job a line: which step, on which database, and when to die. `after` is seconds; `at` is
# a place such as "before create_model_version", a method of MLflow's client or a named query.
FORKING = """
import contextlib, gc, importlib, json, os, signal, sys, time, traceback
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import feast, feast_postgres, lightgbm, matplotlib.pyplot, mlflow, onnxruntime, pandera.pandas
import skl2onnx, sklearn.ensemble, sklearn.linear_model, sklearn.model_selection, sklearn.pipeline
from dataclasses import replace
from tests import promoting, registered
from streamflow.operations import backup as backups
from streamflow.operations import prune as pruning
from streamflow.operations.history_files import compact_history as compacting
from streamflow.operations.history_files import move_history as moving
from streamflow.pipeline import apply as applying, ingest as ingesting
from streamflow.pipeline import materialize as materializing
from streamflow.pipeline import train as training
from streamflow.pipeline import withdraw as withdrawing
from streamflow.promotion import approve as approving
from streamflow.promotion import promote as promotion
from streamflow.training import export, plots
from streamflow.bootstrap import platform
from streamflow.postgres.database import Database
from streamflow.errors import StreamFlowError
from streamflow.settings import load_settings

NOW = datetime(2024, 3, 15, tzinfo=UTC)
MONTHS = {"month_000": date(2024, 1, 31), "month_001": date(2024, 2, 29)}
MONTH, IMPORTED = Path(sys.argv[1]), Path(sys.argv[2])
# Seconds that no test here is about.
plots.draw = lambda *arguments: None


def ingest(ready, month="month_000"):
    ingesting.ingest(ready, MONTH / month, MONTHS[month], None, NOW, "test")


def ingest_twice(ready):
    ingest(ready)
    withdrawing.withdraw(ready, 1, "wrong", NOW + timedelta(hours=1), "test")
    later = NOW + timedelta(hours=2)
    ingesting.ingest(ready, MONTH / "month_000", MONTHS["month_000"], None, later, "test")


def compact(ready):
    later = datetime.now(UTC) + timedelta(days=2)
    compacting.compact_history(ready, timedelta(days=1), later)


def move_history(ready):
    moving.move_history(ready, f"file://{ready.settings.home}/history")


def materialize(ready, as_of=date(2024, 2, 29)):
    materializing.materialize(ready, as_of, NOW)


def train(ready):
    training.train(ready, MONTHS["month_000"], "logistic_regression", 42, NOW)


def promote(ready, version=2):
    promotion.promote(
        ready, version, "Production", "it's better", "test", NOW, check=promoting.let_through
    )


def promote_by_gates(ready):
    lenient = replace(ready, use_case=replace(ready.use_case, gates=promoting.LENIENT))
    promotion.promote(lenient, 2, "Production", "it's better", "test", NOW)


def rollback(ready):
    promotion.rollback(
        ready, "it was worse", "test", NOW, check=promoting.let_through, leaving=2
    )


def approve(ready, version=2):
    approving.approve(ready, version, "looked at it", "another", NOW)


def backup(ready):
    name = ready.database.row("current_database")["name"]
    backups.backup(ready.settings, ready.settings.home / f"{name}.backup", NOW)


def register_four(ready):
    registered.register_four(ready)


def prune(ready):
    later = datetime.now(UTC) + timedelta(days=200)
    pruning.prune(ready, 1, timedelta(days=180), later)


def nothing(ready):
    pass


def prepare(ready):
    for month in MONTHS:
        ingest(ready, month)
    applying.apply(ready)
    materialize(ready, MONTHS["month_000"])


def train_twice(ready):
    train(ready)
    train(ready)
    promote(ready, 1)


def look(ready):
    versions = []
    for one in ready.registry.versions():
        ready.registry.download(one)  # held against its hash
        metrics = {name: value for name, value in one.metrics.items() if "time" not in name}
        versions.append([one.version, one.run_id, one.stage, one.aliases, metrics, one.model_hash])
    runs = [[run.run_id, run.status] for run in ready.registry.runs()]
    return {"versions": versions, "runs": runs}


def die_at(place):
    moment, name = place.split()

    def dying(owner, attribute, is_it):
        whole = getattr(owner, attribute)

        def call(*arguments, **named):
            if is_it(arguments) and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            answer = whole(*arguments, **named)
            if is_it(arguments):
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        setattr(owner, attribute, call)

    if hasattr(mlflow.MlflowClient, name):
        dying(mlflow.MlflowClient, name, lambda arguments: True)
    else:
        dying(Database, "execute", lambda arguments: arguments[1] == name)


def work(job):
    os.dup2(2, 1)
    settings = load_settings(home=job["home"], database_url=job["url"], **job["settings"])
    with platform(settings) as ready:
        if job["at"]:
            die_at(job["at"])
        globals()[job["step"]](ready)
        if job["answer"]:
            Path(job["answer"]).write_text(json.dumps(look(ready)))
    IMPORTED.write_text(json.dumps(list(sys.modules)))


def import_what_a_child_did():
    if not IMPORTED.exists():
        return
    for name in set(json.loads(IMPORTED.read_text())) - set(sys.modules):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    IMPORTED.unlink()


print("ready", flush=True)
for line in sys.stdin:
    import_what_a_child_did()
    gc.freeze()  # or every child would copy all of it, looking for garbage
    job = json.loads(line)
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            work(job)
            os._exit(0)
        except StreamFlowError as error:
            told = {"error": error.code, "message": error.message, "next": error.next}
            Path(job["told"]).write_text(json.dumps(told))
            os._exit(1)
        except BaseException:
            traceback.print_exc()
            os._exit(2)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if job["after"] is not None and time.monotonic() - started > job["after"]:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    print(os.waitstatus_to_exitcode(ended[1]), flush=True)
"""


@dataclass(frozen=True)
class Place:
    """A database and a home of its own, and other settings."""

    url: str
    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class End:
    """How a step ended: 0, -9 if it was killed, 1 with an error of ours, 2 with any other.

    `said` is what was written to standard error meanwhile.
    """

    code: int
    error: dict[str, str]
    said: str


class Forking:
    """Does steps in processes of their own, and kills them when told to."""

    def __init__(self, process: subprocess.Popen[str], log: Path, temporary: Path) -> None:
        self._process = process
        self._log = log
        self.temporary = temporary

    def start(self, step: str, place: Place, **when: Any) -> End:
        told, said = place.home / "error.json", len(self._log.read_text())
        told.unlink(missing_ok=True)
        job = {"at": None, "after": None, "answer": None, **when}
        place_of = {"url": place.url, "home": str(place.home), "told": str(told)}
        job["settings"] = dict(place.settings)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"step": step, **place_of, **job}) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        error = json.loads(told.read_text()) if told.exists() else {}
        return End(code, error, self._log.read_text()[said:])

    def do(self, step: str, place: Place) -> dict[str, Any]:
        """Do the whole step; what the registry holds afterwards, if the step has to do with it."""
        answer = place.home / "answer.json"
        registry = step not in WITHOUT_REGISTRY
        end = self.start(step, place, answer=str(answer) if registry else None)
        assert end.code == 0, f"{end.error} {end.said[-3000:]}"
        done: dict[str, Any] = json.loads(answer.read_text()) if registry else NO_MODELS
        return done


@contextmanager
def forking(folder: Path) -> Iterator[Forking]:
    """With two small months and its log in `folder`."""
    from churn.generator import generate
    from streamflow.use_case import Generation

    generate(Generation(folder, users=300, months=2, seed=5))
    log = folder / "log"
    temporary = folder / "temporary"
    temporary.mkdir()
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-c", FORKING, str(folder), str(folder / "imported")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={
                **os.environ,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # the registry says so too late for this one
                "MPLBACKEND": "agg",
                "TMPDIR": str(temporary),
            },
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", log.read_text()
        yield Forking(process, log, temporary)
        assert process.stdin is not None
        process.stdin.close()


Copies = Callable[[str], Place]


def copying(
    forking: Forking,
    prepared: str,
    new_database: Callable[[str], str],
    new_folder: Callable[[str], Path],
) -> Copies:
    """Makes a place where a step can be done, the same each time, out of a prepared database."""
    empty = Place(prepared, new_folder("empty"))
    before = {"ingest": empty, "prune": empty}

    def add(step: str, template: str, *preparations: str) -> None:
        # One home for all copies: the artifacts of the versions that are there are in it.
        place = Place(new_database(before[template].url), new_folder(step))
        for preparation in preparations:
            forking.do(preparation, place)
        before[step] = place

    def copy(step: str) -> Place:
        if step not in before:
            if "materialize" not in before:
                add("materialize", "ingest", "prepare")
                before["train"] = before["materialize"]
            of_versions = ("promote", "promote_by_gates", "rollback", "approve", "backup")
            if step in of_versions and "promote" not in before:
                add("promote", "materialize", "train_twice")
                before["approve"] = before["promote_by_gates"] = before["promote"]
            if step == "rollback":
                add("rollback", "promote", "promote")
            if step == "backup":
                before["backup"] = before["promote"]
        # A backup needs the artifacts too.
        home = before[step].home if step == "backup" else new_folder(step)
        return Place(new_database(before[step].url), home)

    return copy


def history_and_online(place: Place) -> dict[str, Any]:
    """Every row that can be asked for; not when it was recorded, nor by which ingestion."""
    with psycopg.connect(place.url, row_factory=dict_row) as connection:
        tables = connection.execute(
            "SELECT table_schema AS schema, table_name AS name FROM information_schema.tables "
            "WHERE table_schema IN ('churn', 'online') ORDER BY 1, 2"
        ).fetchall()
        found: dict[str, Any] = {}
        elsewhere = histories_elsewhere(place)
        for table in tables:
            name = sql.Identifier(table["schema"], table["name"])
            rows: Iterable[dict[str, Any]] | None = elsewhere.get(table["name"])
            if rows is None:
                rows = connection.execute(sql.SQL("SELECT * FROM {} ORDER BY 1, 2").format(name))
            found[table["name"]] = [
                {key: row[key] for key in row if key not in ("recorded_at", "ingestion_id")}
                for row in rows
            ]
        found["materialized"] = connection.execute(
            "SELECT DISTINCT feature_view, as_of, rows FROM streamflow.materializations "
            "ORDER BY 1, 2"
        ).fetchall()
        found["promotions"] = connection.execute(
            "SELECT number, who, model, version, kind, from_stage, to_stage, replaced, why, "
            "details FROM streamflow.model_history ORDER BY number"
        ).fetchall()
        for row in found["promotions"]:
            # Seconds and milliseconds differ each time.
            row["details"]["gates"] = [
                [one["gate"], one["outcome"]] for one in row["details"].get("gates", [])
            ]
    return found


def histories_elsewhere(place: Place) -> dict[str, list[dict[str, Any]]]:
    """The rows of each history in Apache Iceberg that a reader sees; none in PostgreSQL."""
    with Database(place.url) as database:
        location = history_location(database, "churn")
        if location is None:
            return {}
        session = IcebergSession(database, location, "1GB", place.home / "spill")
        session.refresh("churn")
        found: dict[str, list[dict[str, Any]]] = {}
        for table in database.rows("iceberg_tables", use_case="churn"):
            name = table["table_name"]
            batches = session.batches(f'SELECT * FROM "churn"."{name}" ORDER BY 1, 2')
            found[name] = [row for batch in batches for row in batch.to_pylist()]
        session.close()
    return found


def runs_and_files(place: Place) -> dict[str, Any]:
    """Which versions MLflow has, how many runs and models, and how many files they have."""
    with psycopg.connect(place.url) as connection:
        versions = connection.execute(
            "SELECT version, current_stage FROM mlflow.model_versions "
            "WHERE current_stage <> 'Deleted_Internal' ORDER BY version"
        ).fetchall()
        ((runs,),) = connection.execute(
            "SELECT count(*) FROM mlflow.runs WHERE lifecycle_stage = 'active'"
        ).fetchall()
        ((models,),) = connection.execute(
            "SELECT count(*) FROM mlflow.logged_models WHERE lifecycle_stage = 'active'"
        ).fetchall()
    files = [path for path in (place.home / "mlflow").rglob("*") if path.is_file()]
    return {"versions": versions, "runs": runs, "models": models, "files": len(files)}


def leftovers(place: Place) -> list[str]:
    """Temporary tables, and rows in PostgreSQL of an ingestion that was never recorded. In Apache
    Iceberg such rows may be, and no reader sees them."""
    with psycopg.connect(place.url) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE nspname LIKE 'pg_temp%'"
        ).fetchall()
        left = [str(name) for (name,) in tables]
        histories = connection.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = 'churn' AND table_type = 'BASE TABLE'"
        ).fetchall()
        for (name,) in histories:
            query = sql.SQL(
                "SELECT count(*) FROM {} WHERE ingestion_id NOT IN "
                "(SELECT ingestion_id FROM streamflow.ingestions)"
            ).format(sql.Identifier("churn", name))
            ((orphans,),) = connection.execute(query).fetchall()
            left += [f"{orphans} orphans in {name}"] * bool(orphans)
    return left


def until_all_have_left(place: Place) -> None:
    """A server process notices a moment later that its client was killed."""
    deadline = time.monotonic() + 30
    with psycopg.connect(place.url, autocommit=True) as connection:
        while connection.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        ).fetchall():
            assert time.monotonic() < deadline
            time.sleep(0.01)


def stages(registry: dict[str, Any]) -> list[Any]:
    return [[version, stage, aliases] for version, _, stage, aliases, *_ in registry["versions"]]


def what_models_are(registry: dict[str, Any]) -> set[str]:
    return {json.dumps([metrics, digest]) for *_, metrics, digest in registry["versions"]}


@dataclass(frozen=True)
class Undisturbed:
    seconds: float
    rows: dict[str, Any]
    registry: dict[str, Any]


def once(forking: Forking, copies: Copies) -> Callable[[str], Undisturbed]:
    """Does a step without a kill, the first time that it's asked for."""
    done: dict[str, Undisturbed] = {}

    def undisturbed(step: str) -> Undisturbed:
        if step not in done:
            place = copies(step)
            started = time.monotonic()
            registry = forking.do(step, place)
            seconds = time.monotonic() - started
            done[step] = Undisturbed(seconds, history_and_online(place), registry)
        return done[step]

    return undisturbed


def assert_as_undisturbed(place: Place, registry: dict[str, Any], expected: Undisturbed) -> None:
    until_all_have_left(place)
    assert history_and_online(place) == expected.rows
    assert leftovers(place) == []
    # Every run that can be seen has finished and has its version, and every version has its run.
    assert {status for _, status in registry["runs"]} <= {"FINISHED"}
    assert sorted(run for run, _ in registry["runs"]) == sorted(
        run for _, run, *_ in registry["versions"]
    )
    assert what_models_are(registry) == what_models_are(expected.registry)
    # A training that was killed after its last write has made its version; so does the next one.
    surplus = len(registry["versions"]) - len(expected.registry["versions"])
    assert surplus in (0, 1)
    assert stages(registry)[surplus:] == stages(expected.registry)
    assert all(stage == [] for *_, stage in stages(registry)[:surplus])
