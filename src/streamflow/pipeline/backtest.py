"""The step that looks back: what would have been reported of each model, and what came true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.errors import AsOfRefused, DataRefused
from streamflow.features import point_in_time, use_case_check
from streamflow.history import months
from streamflow.history.as_of import event_timestamp
from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.scratch import scratch
from streamflow.training import backtest as looking_back
from streamflow.training import candidate, dataset_table, estimator_findings
from streamflow.training.backtest import Backtested, Plan
from streamflow.training.backtest_conclusions import Conclusion, conclusions
from streamflow.training.dataset import TrainingSet
from streamflow.training.served_model import FeatureSchema

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Backtest:
    """What came of each model at each as_of, and what that says.

    `left_out` has months whose labels judge nobody, each with the reason. `as_known_now` are the
    as_ofs of months that were recorded only after the month after them had ended: what was known
    on the day after them isn't known, so that they are judged by what is known today.
    """

    backtested: list[Backtested]
    conclusions: list[Conclusion]
    left_out: dict[date, str]
    as_known_now: list[date]


@dataclass(frozen=True)
class Choice:
    """From which as_of to which one, and how: see `training.backtest.Plan`. Without `models`, all
    of the use case are looked back at."""

    first: date
    last: date
    models: Sequence[str] = ()
    random_state: int = 42
    most_months: int | None = None
    ahead: int | None = 3


def backtest(
    platform: Platform, choice: Choice, now: datetime, progress: Progress = silent
) -> Backtest:
    """Look back at each month from `choice.first` to `choice.last`. Nothing is registered.

    On the day after a month, what was recorded by then is known; `now` is in UTC.
    Raises UnknownModel, AsOfRefused, UntrainableData, FeatureStoreUnavailable.
    """
    use_case = platform.use_case
    names = list(dict.fromkeys(choice.models)) or list(use_case.models)
    builders = {name: candidate.estimator_builder(use_case, name) for name in names}
    use_case_check.require_usable(use_case)
    for name in names:
        estimator_findings.require_estimator(use_case, name)
    recorded = months.first_known(platform.database, use_case)
    as_ofs = [one for one in recorded if choice.first <= one <= choice.last]
    if not as_ofs:
        raise AsOfRefused(
            f"There is no month from {choice.first} to {choice.last}; there is: "
            f"{', '.join(map(str, recorded)) or 'none yet'}.",
            "Name others with --from and --to, or load them with `streamflow ingest`.",
        )
    with scratch(platform.settings.scratch) as folder:
        rows = _Rows(platform, _known_at(as_ofs, list(recorded), recorded), now, folder)
        rows.read_all(progress)
        plan = Plan(
            as_ofs=as_ofs,
            months=list(rows.months),
            horizon=use_case.label.horizon,
            models=builders,
            random_state=choice.random_state,
            share=use_case.validation_share,
            most_months=choice.most_months,
            ahead=choice.ahead,
            recorded={as_of: rows.labelled(as_of) for as_of in rows.known_at},
        )
        done = list(looking_back.backtest(plan, rows.of, progress))
    return Backtest(
        done,
        conclusions(done),
        rows.left_out,
        [as_of for as_of in as_ofs if as_of not in rows.known_at],
    )


def _known_at(
    as_ofs: Sequence[date], every_month: Sequence[date], recorded: Mapping[date, datetime]
) -> dict[date, datetime]:
    """Per as_of when its month could first be scored, where that can be told: if it was recorded
    before the month after it had ended. A history that was loaded later doesn't tell."""
    following = dict(pairwise(every_month))
    return {
        as_of: max(recorded[as_of], event_timestamp(as_of))
        for as_of in as_ofs
        if as_of not in following or recorded[as_of] <= event_timestamp(following[as_of])
    }


@dataclass
class _Rows:
    """The rows of months: as known now each on disk once, as known then joined when they're needed.

    `known_at` has the as_ofs at which it is known what was known.
    """

    platform: Platform
    known_at: Mapping[date, datetime]
    now: datetime
    folder: Path
    months: dict[date, Path] = field(default_factory=dict)
    left_out: dict[date, str] = field(default_factory=dict)
    schema: FeatureSchema | None = None

    def read_all(self, progress: Progress) -> None:
        """Write the rows of every month that has labels; others are left out."""
        database, use_case = self.platform.database, self.platform.use_case
        for month in months.labelled_months(database, use_case, self.now):
            progress(f"point-in-time join of {month}")
            try:
                made = point_in_time.assemble(self.platform.history, use_case, [month], self.now)
            except DataRefused as error:
                self.left_out[month] = error.message
                continue
            self.schema = made.training_set.schema
            file = self.folder / f"{month}.parquet"
            dataset_table.write(dataset_table.with_as_of(made.table, month), file)
            self.months[month] = file
        if not self.months:
            raise AsOfRefused(
                "No month has rows with labels that are known by now"
                f"{': ' if self.left_out else '.'}{' '.join(self.left_out.values())}",
                "Load labels with `streamflow ingest`.",
            )

    def labelled(self, as_of: date) -> list[date]:
        """The months whose labels had been recorded when `as_of` could first be scored."""
        database, use_case = self.platform.database, self.platform.use_case
        known = months.labelled_months(database, use_case, self.known_at[as_of])
        return [month for month in known if month in self.months]

    def of(self, wanted: Sequence[date], as_of: date | None) -> TrainingSet:
        """The rows of these months, as `training.backtest` asks for them."""
        known_at = self.known_at.get(as_of) if as_of else None
        if known_at is not None:
            database, use_case = self.platform.history, self.platform.use_case
            return point_in_time.assemble(database, use_case, wanted, known_at).training_set
        import pyarrow as pa

        assert self.schema is not None
        tables: list[pa.Table] = [
            dataset_table.read(self.months[month]) for month in sorted(wanted)
        ]
        return dataset_table.training_set(
            pa.concat_tables(tables), self.schema, max(wanted), self.now
        )
