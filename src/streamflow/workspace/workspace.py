"""A home of StreamFlow in Python: each command's step as a method, with the same errors.

The examples are run by the tests, on the use case of a workshop with 300 machines.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from streamflow.keys.operator import operator
from streamflow.progress import Progress, silent
from streamflow.workspace.arrow_table import ScoresTable
from streamflow.workspace.data_steps import DataSteps
from streamflow.workspace.moments import Day, Moment, day, moment, now

if TYPE_CHECKING:
    from types import TracebackType

    from streamflow.features.materialization import Materialized
    from streamflow.pipeline.evaluate import Evaluated
    from streamflow.pipeline.train import Trained
    from streamflow.platform import Platform
    from streamflow.promotion.promote import Promoted
    from streamflow.scores.everyone import Scored
    from streamflow.training.calibrated.estimator import CalibrationMethod
    from streamflow.training.split import Method

Stage = Literal["staging", "production", "archived"]


def open(home: str | Path | None = None, **settings: object) -> Workspace:
    """The workspace of a home, until it is closed, at the latest when the program ends.

    `settings` are those of the README by their names in small letters, such as `use_case` or
    `database_url`. What isn't given comes from the environment and `.env`. Without `database_url`,
    the home's own PostgreSQL is started. Raises InvalidSettings, DatabaseUnavailable.

    >>> with streamflow.open(home=home, use_case="tests.tiny_case") as workspace:
    ...     workspace.months()
    []
    """
    from streamflow.bootstrap import platform
    from streamflow.settings import load_settings

    given = settings if home is None else {"home": Path(home), **settings}
    stack = ExitStack()
    return Workspace(stack.enter_context(platform(load_settings(**given))), stack)


class Workspace(DataSteps):
    """What `open` returns. Days are dates or texts such as "2024-01-31"; times are in UTC, also
    those without a zone, or texts in ISO 8601. `progress` is called with what a step does now."""

    def __init__(self, platform: Platform, opened: ExitStack) -> None:
        super().__init__(platform)
        self._close = weakref.finalize(self, opened.close)

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Workspace of {self._platform.use_case.name!r} in {self._platform.settings.home}>"

    def close(self) -> None:
        """Close the connections, and stop the PostgreSQL that `open` started."""
        self._close()

    def train(
        self,
        as_of: Day,
        model: str | None = None,
        *,
        months: int | None = None,
        since: Day | None = None,
        known_at: Moment | None = None,
        random_state: int = 42,
        validation: Method | None = None,
        validation_months: int | None = None,
        refit: bool = False,
        calibrate: CalibrationMethod | None = None,
        progress: Progress = silent,
    ) -> Trained:
        """Train at `as_of`, prove the served form, register a version; as `streamflow train`.

        >>> trained = workspace.train("2024-01-31")
        >>> trained.version, trained.data_hash == rows.data_hash
        (1, True)

        Raises what `training_set` does, UnknownModel, ServedFormDiffers, MlflowUnavailable.
        """
        from streamflow.pipeline import train
        from streamflow.training.split import Choice

        first = None if since is None else day(since)
        return train.train(
            *(self._platform, day(as_of), model, random_state, now(), progress),
            known_at=None if known_at is None else moment(known_at),
            choice=Choice(months, first, validation, validation_months, refit, calibrate=calibrate),
            who=operator(),
        )

    def evaluate(
        self,
        version: int,
        as_of: Day,
        *,
        known_at: Moment | None = None,
        progress: Progress = silent,
    ) -> Evaluated:
        """Judge a version on a month whose labels are known, by the file that is served.

        >>> workspace.evaluate(1, "2024-01-31").evaluation.rows
        300

        Raises UnknownVersion, KnownAtRefused, AsOfRefused, LabelsNotMatured, UntrainableData.
        """
        from streamflow.pipeline import evaluate

        known = None if known_at is None else moment(known_at)
        return evaluate.evaluate(
            *(self._platform, version, day(as_of), operator(), now(), progress), known_at=known
        )

    def promote(
        self,
        version: int,
        to: Stage,
        why: str,
        *,
        overrides: Sequence[str] = (),
        progress: Progress = silent,
    ) -> Promoted:
        """Move a version to a stage. Production is for versions whose gates all pass, but for those
        named in `overrides`; `why` is kept for ever.

        >>> workspace.promote(1, "staging", "the first one").to_stage
        'Staging'

        Raises UnknownVersion, GateFailed, PromotedMeanwhile, AccessRefused, UnservableModel.
        """
        from streamflow.promotion import promote
        from streamflow.promotion.promoter import promoter
        from streamflow.registry.stages import STAGES

        if not why.strip():
            raise ValueError("Say why in a few words, for those who ask later.")
        if to not in STAGES:
            raise ValueError(f"{to!r} isn't a stage; those are {', '.join(STAGES)}.")
        moment_now = now()
        return promote.promote(
            *(self._platform, version, STAGES[to], why),
            promoter(self._platform, "promote", operator(), moment_now),
            moment_now,
            overrides=dict.fromkeys(overrides, why),
            progress=progress,
        )

    def materialize(
        self, as_of: Day | None = None, *, progress: Progress = silent
    ) -> list[Materialized]:
        """Write each entity's newest features to the online store, up to `as_of`.

        >>> [done.rows for done in workspace.materialize()]
        [300, 300]

        Raises AsOfRefused, FeatureStoreUnavailable.
        """
        from streamflow.pipeline import materialize

        until = None if as_of is None else day(as_of)
        return materialize.materialize(self._platform, until, now(), progress)

    def predict(self, entity_id: str) -> Mapping[str, object]:
        """The Production model's answer for an entity, as the API's `/predict` has it.

        >>> workspace.predict("m-0000")
        Traceback (most recent call last):
        streamflow.errors.NoProductionModel: No version of 'workshop_failures' is in Production. ...

        Raises NoAnswer: UnknownEntity, MissingFeatures, NoProductionModel and their like.
        """
        from streamflow.bootstrap import production_predictor
        from streamflow.pipeline import predict

        return predict.predict(production_predictor(self._platform), entity_id, now())

    def score(
        self,
        as_of: Day,
        *,
        version: int | None = None,
        known_at: Moment | None = None,
        progress: Progress = silent,
    ) -> Scored:
        """Score everyone of a month by the version that serves, or by another one.

        >>> workspace.score("2024-01-31", version=1).scoring.entities
        300

        Raises NoProductionModel, UnknownVersion, KnownAtRefused, AsOfRefused, UnservableModel.
        """
        from streamflow.scores import everyone

        known = None if known_at is None else moment(known_at)
        return everyone.score(
            *(self._platform, day(as_of), operator(), now(), progress), known, version
        )

    def scores(self, as_of: Day | None = None, *, version: int | None = None) -> ScoresTable:
        """The stored scores of a month, or of the newest one, by rank.

        >>> scores = workspace.scores("2024-01-31", version=1)
        >>> len(scores), scores.columns
        (300, ['machine_id', 'probability', 'prediction', 'rank', 'decile'])

        Raises NoScoring.
        """
        from streamflow.pipeline.tables import scores

        month = None if as_of is None else day(as_of)
        scoring, table = scores.scores(self._platform, month, version)
        return ScoresTable(
            table, version=scoring.version, as_of=scoring.as_of, scored_at=scoring.scored_at
        )
