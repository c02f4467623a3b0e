"""The steps of a workspace from files to rows: ingest, apply, training sets, history."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.keys.operator import operator
from streamflow.progress import Progress, silent
from streamflow.workspace.arrow_table import ArrowTable, TrainingSetTable
from streamflow.workspace.moments import Day, Moment, day, moment, now

if TYPE_CHECKING:
    from streamflow.history.ingest import IngestedMonth
    from streamflow.pipeline.apply import Plan
    from streamflow.platform import Platform


class DataSteps:
    """Of a workspace; see `streamflow.workspace.workspace.Workspace`."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def months(self) -> list[date]:
        """The as_ofs of the months that were ingested, ascending."""
        from streamflow.history import months

        return months.months(self._platform.database, self._platform.use_case)

    def ingest(
        self,
        folder: str | Path,
        as_of: Day,
        *,
        recorded_at: Moment | None = None,
        complete: bool = False,
        really: bool = False,
        progress: Progress = silent,
    ) -> IngestedMonth:
        """Check a month's files and add what is new to history, as `streamflow ingest` does.

        >>> done = workspace.ingest(months / "month_000", "2024-01-31")
        >>> done.tables["machines"].added, done.as_of
        (300, datetime.date(2024, 1, 31))

        Raises DataRefused: MissingFiles, ContractViolation and their like; nothing is changed then.
        """
        from streamflow.pipeline import ingest

        recorded = None if recorded_at is None else moment(recorded_at)
        return ingest.ingest(
            *(self._platform, Path(folder), day(as_of), recorded, now(), operator()),
            progress=progress,
            complete=complete,
            really=really,
        )

    def apply(self) -> Plan:
        """Make history, Feast's registry and the online store follow the definitions, as
        `streamflow apply` does; once before the first training, and after a change.

        >>> list(workspace.apply().registry.feature_services)
        ['failures_v1']

        Raises UseCaseRefused, FeatureStoreUnavailable.
        """
        from streamflow.pipeline import apply

        return apply.apply(self._platform)

    def training_set(
        self,
        as_of: Day,
        months: int | None = None,
        *,
        since: Day | None = None,
        known_at: Moment | None = None,
        progress: Progress = silent,
    ) -> TrainingSetTable:
        """The rows that `train` learns from with the same arguments, as an Arrow table.

        >>> rows = workspace.training_set("2024-01-31")
        >>> len(rows), rows.columns[:3], rows.columns[-1]
        (300, ['machine_id', 'kind', 'age_weeks'], 'label')
        >>> rows.to_pandas()["age_weeks"].dtype
        Int64Dtype()

        Raises AsOfRefused, KnownAtRefused, LabelsNotMatured, UntrainableData.
        """
        from streamflow.pipeline.tables import training_set
        from streamflow.training import canonical

        made = training_set.training_set(
            *(self._platform, day(as_of), now(), progress),
            months=months,
            since=None if since is None else day(since),
            known_at=None if known_at is None else moment(known_at),
        )
        return TrainingSetTable(
            made.table,
            months=tuple(made.training_set.months),
            known_at=made.training_set.known_at,
            data_hash=canonical.hashes(made.table)[0],
            without_label=made.without_label,
            without_features=made.without_features,
        )

    def history(self, entity_id: str, *, known_at: Moment | None = None) -> dict[str, ArrowTable]:
        """Per table what was recorded of an entity, by `as_of` and `recorded_at`: all that ever
        was, or with `known_at` the rows that counted then.

        >>> workspace.history("m-0000")["machines"].to_pandas()[["as_of", "kind", "age_weeks"]]
                as_of   kind  age_weeks
        0  2024-01-31  lathe         10
        """
        from streamflow.pipeline.tables import entity_history

        known = None if known_at is None else moment(known_at)
        found = entity_history.entity_history(self._platform, entity_id, known)
        return {name: ArrowTable(table) for name, table in found.items()}
