"""A version as it is judged: by the file that is served, on rows that its run's features have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from streamflow.errors import NoLineage, UnservableModel
from streamflow.features import point_in_time
from streamflow.features.feature_join import FeatureJoin, join_of_before, join_of_today
from streamflow.features.point_in_time import Assembled
from streamflow.lineage import definitions_then, recorded_run
from streamflow.lineage.recorded_run import RecordedRun
from streamflow.platform import Platform
from streamflow.registry.records import ModelVersion
from streamflow.registry.trial import Trials
from streamflow.scratch import scratch
from streamflow.training import dataset_table, served_model
from streamflow.training.dataset_table import AS_OF
from streamflow.training.served_model import Feature, FeatureSchema, Labels, Matrix, ServedModel
from streamflow.training.split import divided

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_A_TIME = 65_536


@dataclass(frozen=True)
class JudgedVersion:
    """A version, its served form, and what its run has stored; None without lineage."""

    version: ModelVersion
    model: ServedModel
    recorded: RecordedRun | None


def judged_version(platform: Platform, version: ModelVersion) -> JudgedVersion:
    """The version, whose files' hash was checked and whose model passed its trial.

    Raises UnservableModel, UnknownRun, MlflowUnavailable.
    """
    return JudgedVersion(version, model_of(platform, version), _recorded(platform, version))


def model_of(platform: Platform, version: ModelVersion) -> ServedModel:
    """The model of the version, whose files' hash was checked and which passed its trial.

    Raises UnservableModel, MlflowUnavailable.
    """
    folder = platform.production.download(version)
    Trials(platform.registry.cache).require_passed(version, folder)
    return served_model.load(folder)


def _recorded(platform: Platform, version: ModelVersion) -> RecordedRun | None:
    registry = platform.registry
    with scratch(platform.settings.scratch) as folder:
        try:
            return recorded_run.read(registry, registry.run(version.run_id), folder)
        except NoLineage:
            return None


def rows_of(
    platform: Platform, judged: JudgedVersion, months: Sequence[date], known_at: datetime
) -> Assembled:
    """The rows of the months with the features of the version where its run tells them, those of
    today otherwise, as known at `known_at` (UTC).

    Raises UnservableModel if a feature isn't there any more, and as `point_in_time.assemble` does.
    """
    database, use_case = platform.history, platform.use_case
    if judged.recorded is None:
        assembled = point_in_time.assemble(database, use_case, months, known_at)
    else:
        configuration = judged.recorded.lineage.configuration
        assembled = definitions_then.assemble_months(
            database, use_case, configuration, months, known_at
        ).assembled
    _require_features(judged.version, judged.model.schema, assembled.training_set.schema)
    return assembled


def join_of(
    platform: Platform, version: ModelVersion, model: ServedModel, known_at: datetime
) -> FeatureJoin:
    """The join of the features that the version's model needs, of what was known at `known_at`
    (UTC): by today's definitions, or where one isn't there any more, by those of the version's run.

    It may join features that came since. The run is read only if it is needed: that takes MLflow,
    whose import takes seconds.
    Raises UnservableModel if a feature isn't there any more, FeatureStoreUnavailable.
    """
    database, use_case = platform.history, platform.use_case
    join = join_of_today(database, use_case, known_at)
    if _lacking(model.schema, join.schema):
        recorded = _recorded(platform, version)
        if recorded is not None:
            configuration = recorded.lineage.configuration
            schema, views = configuration.feature_schema, configuration.feature_views
            join = join_of_before(database, use_case, known_at, schema, views)
    _require_features(version, model.schema, join.schema)
    return join


def _require_features(version: ModelVersion, needed: FeatureSchema, there: FeatureSchema) -> None:
    for feature, kind in _lacking(needed, there):
        is_now = f"has the type {kind} now" if kind else "isn't there any more"
        raise UnservableModel(
            f"Version {version.version} of {version.name!r} needs the feature "
            f"{feature.feature_view}:{feature.name} ({feature.type}), which {is_now} in the "
            f"feature service {there.feature_service!r}.",
            "Bring it back in the use case and run `streamflow apply`, or evaluate a version "
            "that was trained since; see `streamflow models`.",
        )


def _lacking(needed: FeatureSchema, there: FeatureSchema) -> list[tuple[Feature, str | None]]:
    """The needed features that aren't there with their type, and the type that they have."""
    types = {(one.feature_view, one.name): one.type for one in there.features}
    found = [(one, types.get((one.feature_view, one.name))) for one in needed.features]
    return [(feature, kind) for feature, kind in found if kind != feature.type]


def scores(model: ServedModel, table: pa.Table) -> tuple[Labels, Matrix]:
    """The model's labels and probabilities of 1, one per row of a table with its features."""
    features = model.schema.features

    def parts() -> Iterator[tuple[Labels, Matrix]]:
        for start in range(0, table.num_rows, _ROWS_AT_A_TIME):
            part = table.slice(start, _ROWS_AT_A_TIME)
            yield model.predict({one.name: dataset_table.values(part, one) for one in features})

    if not table.num_rows:
        return np.empty(0, np.int64), np.empty(0)
    labels, probabilities = zip(*parts(), strict=True)
    return np.concatenate(labels), np.concatenate(probabilities)


def trained_on(
    recorded: RecordedRun | None, as_of: date, entities: Sequence[str]
) -> set[str] | None:
    """Which of the entities' rows at `as_of` the version was fitted to; None if its run doesn't
    tell."""
    if recorded is None:
        return None
    configuration = recorded.lineage.configuration
    if as_of not in _fitted_months(recorded):
        return set()
    if recorded.table is None or recorded.scores is None:
        return None
    fitted = _entities_at(recorded.table, as_of)
    if not configuration.refit:
        fitted -= _entities_at(recorded.scores, as_of)
    return fitted.intersection(entities)


def validated_on(recorded: RecordedRun | None, as_of: date) -> set[str]:
    """The entities whose rows at `as_of` judged the version when it was trained, or its twin if it
    was fitted to them afterwards."""
    if recorded is None or recorded.scores is None or as_of not in validation_months(recorded):
        return set()
    return _entities_at(recorded.scores, as_of)


def validation_months(recorded: RecordedRun | None) -> set[date]:
    """The as_ofs with rows that judged the version, or its twin, when it was trained; none if its
    run doesn't tell."""
    if recorded is None or recorded.scores is None:
        return set()
    return {*dataset_table.as_ofs(recorded.scores, recorded.lineage.data.as_of)}


def has_twin(recorded: RecordedRun | None) -> bool:
    """Whether the version was fitted to all rows, and a twin of it was judged in its place."""
    return recorded is not None and recorded.lineage.configuration.refit


def twins_scores(recorded: RecordedRun | None, as_of: date) -> dict[str, float]:
    """What the version's twin, if it has one, gave to the rows at `as_of` that it was judged by:
    probabilities of 1 by entity, as they were recorded with the run."""
    if recorded is None or recorded.scores is None or not has_twin(recorded):
        return {}
    if as_of not in validation_months(recorded):
        return {}
    rows = _rows_at(recorded.scores, as_of)
    names, probabilities = rows.column(0).to_pylist(), rows["probability"].to_pylist()
    return dict(zip(names, probabilities, strict=True))


def _fitted_months(recorded: RecordedRun) -> list[date]:
    data, configuration = recorded.lineage.data, recorded.lineage.configuration
    months = data.every_month
    if configuration.validation == "out-of-time" and not configuration.refit:
        horizon = timedelta(seconds=configuration.label.horizon_seconds)
        months, _gap, _judging = divided(months, horizon, configuration.validation_months or 1)
    return months


def _entities_at(table: pa.Table, as_of: date) -> set[str]:
    return {*_rows_at(table, as_of).column(0).to_pylist()}


def _rows_at(table: pa.Table, as_of: date) -> pa.Table:
    """The table's rows at `as_of`; of a month alone, all of them."""
    if AS_OF not in table.column_names:
        return table
    import pyarrow.compute as pc

    return table.filter(pc.equal(table[AS_OF], as_of.isoformat()))
