"""SIGKILL in the middle of a step, then the same step again: it ends as if nothing had happened.

Steps run in processes forked from one that has imported everything, so that an instant hits the
step and not its imports. `STREAMFLOW_TEST_KILLS` is the number of random instants per step (2).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

KILLS = int(os.environ.get("STREAMFLOW_TEST_KILLS", "2"))
NO_MODELS: dict[str, Any] = {"versions": [], "runs": []}
STEPS = ("ingest", "materialize", "train", "promote")

# Reads one job a line: which step, on which database, and when to die. `after` is seconds; `at` is
# a place such as "before create_model_version", a method of MLflow's client or a named query.
FORKING = """
import contextlib, gc, importlib, json, os, signal, sys, time, traceback
from datetime import UTC, date, datetime
from pathlib import Path

import feast, feast_postgres, lightgbm, matplotlib.pyplot, mlflow, onnxruntime, pandera.pandas
import skl2onnx, sklearn.ensemble, sklearn.linear_model, sklearn.model_selection, sklearn.pipeline
from streamflow import deployment, pipeline, plots, served_form, training_run
from streamflow.bootstrap import platform
from streamflow.database import Database
from streamflow.settings import load_settings

NOW = datetime(2024, 3, 15, tzinfo=UTC)
MONTHS = {"month_000": date(2024, 1, 31), "month_001": date(2024, 2, 29)}
MONTH, IMPORTED = Path(sys.argv[1]), Path(sys.argv[2])
# Seconds that no test here is about.
plots.draw = lambda *arguments: None


def ingest(ready, month="month_000"):
    pipeline.ingest(ready, MONTH / month, MONTHS[month], None, NOW, "test")


def materialize(ready, as_of=date(2024, 2, 29)):
    pipeline.materialize(ready, as_of, NOW)


def train(ready):
    training_run.train(ready, MONTHS["month_000"], "logistic_regression", 42, NOW)


def promote(ready, version=2):
    deployment.promote(ready, version, "Production", "it's better", "test", NOW)


def rollback(ready):
    deployment.rollback(ready, "it was worse", "test", NOW)


def prepare(ready):
    for month in MONTHS:
        ingest(ready, month)
    pipeline.apply(ready)
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
    with platform(load_settings(home=job["home"], database_url=job["url"])) as ready:
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
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if job["after"] is not None and time.monotonic() - started > job["after"]:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    seconds = time.monotonic() - started
    print(json.dumps([os.waitstatus_to_exitcode(ended[1]), seconds]), flush=True)
"""


@dataclass(frozen=True)
class Place:
    """A database and a home of its own."""

    url: str
    home: Path


class Forking:
    """Does steps in processes of their own, and kills them when told to."""

    def __init__(self, process: subprocess.Popen[str], log: Path, temporary: Path) -> None:
        self._process = process
        self._log = log
        self.temporary = temporary

    def start(self, step: str, place: Place, **when: Any) -> tuple[int, float]:
        """The exit code (-9 if it was killed) and the seconds that it took."""
        job = {"at": None, "after": None, "answer": None, **when}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps({"step": step, "url": place.url, "home": str(place.home), **job})
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        code, seconds = json.loads(self._process.stdout.readline())
        return int(code), float(seconds)

    def do(self, step: str, place: Place) -> dict[str, Any]:
        """Do the whole step; what the registry holds afterwards, if the step has to do with it."""
        answer = place.home / "answer.json"
        registry = step not in ("ingest", "materialize")
        code, _ = self.start(step, place, answer=str(answer) if registry else None)
        assert code == 0, self._log.read_text()[-3000:]
        done: dict[str, Any] = json.loads(answer.read_text()) if registry else NO_MODELS
        return done


@pytest.fixture(scope="module")
def forking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forking]:
    from churn.generator import generate
    from streamflow.use_case import Generation

    folder = tmp_path_factory.mktemp("killed")
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


@pytest.fixture(scope="module")
def copies(
    forking: Forking,
    prepared_database: str,
    new_database: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Copies:
    """Makes a place where a step can be done, the same each time."""
    before = {"ingest": Place(prepared_database, tmp_path_factory.mktemp("empty"))}

    def add(step: str, template: str, *preparations: str) -> None:
        # One home for all copies: the artifacts of the versions that are there are in it.
        place = Place(new_database(before[template].url), tmp_path_factory.mktemp(step))
        for preparation in preparations:
            forking.do(preparation, place)
        before[step] = place

    def copy(step: str) -> Place:
        if step not in before:
            if "materialize" not in before:
                add("materialize", "ingest", "prepare")
                before["train"] = before["materialize"]
            if step in ("promote", "rollback") and "promote" not in before:
                add("promote", "materialize", "train_twice")
            if step == "rollback":
                add("rollback", "promote", "promote")
        home = tmp_path_factory.mktemp(step)
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
        for table in tables:
            name = sql.Identifier(table["schema"], table["name"])
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
            "SELECT promoted_by, model, version, action, from_stage, to_stage, replaced, why, "
            "verdict FROM streamflow.promotions ORDER BY promotion_id"
        ).fetchall()
    return found


def leftovers(place: Place) -> list[str]:
    """Temporary tables, and history rows of an ingestion that was never recorded."""
    with psycopg.connect(place.url) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE nspname LIKE 'pg_temp%'"
        ).fetchall()
        left = [str(name) for (name,) in tables]
        histories = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'churn'"
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


@pytest.fixture(scope="module")
def undisturbed(forking: Forking, copies: Copies) -> Callable[[str], Undisturbed]:
    """The step done once without a kill."""
    done: dict[str, Undisturbed] = {}

    def once(step: str) -> Undisturbed:
        if step not in done:
            place = copies(step)
            started = time.monotonic()
            registry = forking.do(step, place)
            seconds = time.monotonic() - started
            done[step] = Undisturbed(seconds, history_and_online(place), registry)
        return done[step]

    return once


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


@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("step", STEPS)
def test_a_step_killed_at_any_instant_and_run_again_ends_as_if_undisturbed(
    step: str,
    number: int,
    forking: Forking,
    copies: Copies,
    undisturbed: Callable[[str], Undisturbed],
) -> None:
    expected = undisturbed(step)
    place = copies(step)
    share = random.Random(f"{step} {number}").random()
    forking.start(step, place, after=share * expected.seconds)
    assert_as_undisturbed(place, forking.do(step, place), expected)


PLACES = {
    "ingest": ["after create_history", "before record_ingestion"],
    "materialize": ["before record_materialization"],
    "train": ["after log_batch", "before create_model_version", "after create_model_version"],
    "promote": ["after transition_model_version_stage", "before record_promotion"],
    "rollback": ["before record_promotion"],
}


@pytest.mark.parametrize(
    ("step", "at"), [(step, at) for step, places in PLACES.items() for at in places]
)
def test_a_step_killed_between_two_writes_and_run_again_ends_as_if_undisturbed(
    step: str,
    at: str,
    forking: Forking,
    copies: Copies,
    undisturbed: Callable[[str], Undisturbed],
) -> None:
    expected = undisturbed(step)
    place = copies(step)
    code, _ = forking.start(step, place, at=at)
    assert code == -9, f"{step} never came to {at}"
    assert_as_undisturbed(place, forking.do(step, place), expected)


def test_folders_that_a_killed_training_worked_in_are_gone_after_the_next(
    forking: Forking, copies: Copies
) -> None:
    def left() -> list[Path]:
        return [*forking.temporary.glob("streamflow-*"), *place.home.glob("scratch/*")]

    place = copies("train")
    code, _ = forking.start("train", place, at="after log_batch")
    assert code == -9
    assert left(), "the training should have been killed while it had a folder"
    forking.do("train", place)
    assert left() == []
