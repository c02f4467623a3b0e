"""A model on columns from training to HTTP: everywhere it says what its estimator says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import promoting, tiny_case
from tests.conftest import url_of
from tests.e2e.serve import serving

from streamflow.bootstrap import platform
from streamflow.features import point_in_time
from streamflow.lineage import recorded_run, reproduce
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.pipeline.month.explain_scores import explain_scores
from streamflow.platform import Platform
from streamflow.scores.everyone import score
from streamflow.settings import load_settings
from streamflow.training import fit
from streamflow.training.served_model import encode
from streamflow.training.split import Choice
from streamflow.use_case import Generation

JANUARY = date(2024, 1, 31)
NOW = datetime(2024, 2, 5, 9, tzinfo=UTC)
LATER = datetime(2024, 2, 5, 10, tzinfo=UTC)
FEATURES = {"kind", "age_weeks", "temperature_c", "alarms", "guard_open"}
# Models, how they are corrected, and how far a probability may be from the estimator's.
MODELS: list[Any] = [
    ("forest", None, 0.0),
    ("lightgbm", None, 0.0),
    ("logistic_regression", None, 1e-15),
    ("logistic_regression", "sigmoid", 1e-14),
]


@pytest.fixture(scope="module")
def ready(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
    without_plots: None,
) -> Iterator[Platform]:
    """A month of machines, in history and online."""
    home = tmp_path_factory.mktemp("a home")
    tiny_case.generate(Generation(home / "months", users=150, months=1, seed=5))
    url = new_database(prepared_database)
    settings = load_settings(home=home, database_url=url, use_case="tests.column_case")
    with platform(settings) as opened:
        ingest(opened, home / "months" / "month_000", JANUARY, NOW, NOW, "test")
        apply(opened)
        materialize(opened, JANUARY, NOW)
        yield opened


def by_the_estimator(ready: Platform, model: str, calibrate: Any) -> dict[str, float]:
    """Everyone's probability, by the pipeline itself."""
    assembled = point_in_time.assemble(ready.history, ready.use_case, [JANUARY], NOW)
    training_set = assembled.training_set
    build = ready.use_case.models[model]
    fitted = fit.fit(training_set, build, 7, calibrate=calibrate)
    _, found = fitted.predict_rows(encode(fitted.schema, training_set.columns))
    return dict(zip(training_set.entities, found.tolist(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("model", "calibrate", "allowed"), MODELS)
def test_http_scores_reasons_and_a_re_creation_are_the_estimators(
    ready: Platform, model: str, calibrate: Any, allowed: float
) -> None:
    trained = train.train(ready, JANUARY, model, 7, NOW, choice=Choice(calibrate=calibrate))
    expected = by_the_estimator(ready, model, calibrate)
    assert len(expected) == 150
    promoting.promote(ready, trained.version, "Production", "a test", "somebody", LATER)

    made = score(ready, JANUARY, "test", LATER).scoring
    with ready.database.connection() as connection:
        rows = connection.execute(
            "SELECT entity_id, probability FROM streamflow.scores WHERE scoring_id = %s",
            [made.scoring_id],
        ).fetchall()
    stored = {row["entity_id"]: row["probability"] for row in rows}
    assert stored == pytest.approx(expected, abs=allowed, rel=0)

    done = explain_scores(ready, JANUARY, 30, "test", LATER, version=trained.version)
    assert (done.entities, done.refused) == (30, 0)
    with ready.database.connection() as connection:
        features = connection.execute(
            "SELECT DISTINCT feature FROM streamflow.reasons WHERE scoring_id = %s",
            [made.scoring_id],
        ).fetchall()
    assert {row["feature"] for row in features} <= FEATURES

    run = ready.registry.run(trained.run_id)
    assert reproduce.reproduce(ready, run, LATER).verdict == "identical"

    assert over_http(ready, list(expected)) == stored


@pytest.mark.slow
def test_a_search_a_refit_and_a_correction_go_together_and_are_repeated(ready: Platform) -> None:
    choice = Choice(refit=True, trials=2, calibrate="isotonic")
    done = train.train(ready, JANUARY, None, 7, NOW, choice=choice)
    assert done.searched is not None
    assert done.calibrated is not None
    assert done.metrics["brier"] == pytest.approx(done.calibrated.brier)
    assert done.metrics["brier_uncalibrated"] == done.calibrated.brier_before
    run = ready.registry.run(done.run_id)
    assert run.params["calibrate"] == "isotonic"
    recorded = recorded_run.read(ready.registry, run, ready.settings.home / "recorded")
    assert recorded.lineage.configuration.calibrate == "isotonic"
    again = reproduce.reproduce(ready, run, LATER)
    assert again.verdict == "identical", again.why


def over_http(ready: Platform, machines: list[str]) -> dict[str, float]:
    settings = ready.settings
    environment = {
        **os.environ,
        "STREAMFLOW_HOME": str(settings.home),
        "STREAMFLOW_DATABASE_URL": url_of(settings),
        "STREAMFLOW_USE_CASE": settings.use_case,
        "STREAMFLOW_API_WORKERS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with serving(settings.home, environment) as child:
        api = child.command.ready_url.removesuffix("/ready")
        answers = [
            httpx.post(f"{api}/predict", json={"machine_id": one}, timeout=60).json()
            for one in machines
        ]
    return {one["machine_id"]: one["probability"] for one in answers}
