"""What a version learned from: months, features and the scores of its validation rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from streamflow.features.feature_views import FeatureViewDefinition
from streamflow.lineage import document
from streamflow.lineage.document import LINEAGE_FILE
from streamflow.platform import Platform
from streamflow.registry.records import ModelVersion
from streamflow.scratch import scratch
from streamflow.training import canonical, dataset_table
from streamflow.training.candidate import SCORES_FILE
from streamflow.training.served_model import Feature, FeatureSchema

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Learned:
    """A version, and what its run has stored of what it learned from.

    `months` are the as_ofs of its training set, ascending, as known at `known_at` (UTC). `scores`
    is the table of its validation rows, None if it wasn't stored; with `refit` the version was
    fitted to them afterwards, and they are of its twin.
    """

    version: ModelVersion
    months: tuple[date, ...]
    known_at: datetime
    schema: FeatureSchema
    views: dict[str, FeatureViewDefinition]
    scores: pa.Table | None

    def features_by_history(self) -> dict[str, list[Feature]]:
        """The features by the history table that they come from."""
        found: dict[str, list[Feature]] = {}
        for feature in self.schema.features:
            history = self.views[feature.feature_view].table.strip('"')
            found.setdefault(history, []).append(feature)
        return found


def learned(platform: Platform, version: ModelVersion) -> Learned:
    """What the version learned from, as its run tells.

    Raises NoLineage, UnknownRun, MlflowUnavailable.
    """
    registry = platform.registry
    run = registry.run(version.run_id)
    with scratch(platform.settings.scratch) as folder:
        file = registry.artifact(run.run_id, LINEAGE_FILE, folder)
        recorded = document.read_recorded(run, file.read_text(encoding="utf-8") if file else None)
        stored = registry.artifact(run.run_id, SCORES_FILE, folder)
        scores = None
        if stored is not None:
            try:
                table = dataset_table.read(stored)
                if canonical.hashes(table)[0] == recorded.model.scores_hash:
                    scores = table
            except (OSError, ValueError, KeyError):  # pyarrow raises these for a damaged file
                scores = None
    configuration = recorded.configuration
    return Learned(
        version=version,
        months=tuple(recorded.data.every_month),
        known_at=recorded.data.known_at,
        schema=configuration.feature_schema,
        views=configuration.feature_views,
        scores=scores,
    )
