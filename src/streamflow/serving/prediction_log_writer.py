"""Writes the rows of the prediction log's two tables into PostgreSQL, and makes partitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from streamflow import log
from streamflow.errors import DatabaseUnavailable
from streamflow.postgres.database import Database
from streamflow.serving import prediction_log_partitions as partitions
from streamflow.serving.prediction_log_rows import (
    BEGIN,
    END,
    LoggedModel,
    as_stored,
    fields,
    text_field,
)

if TYPE_CHECKING:
    from streamflow.serving.scoring import Served

_DAY = timedelta(days=1)
_UNKNOWN = b"unknown_entity"  # the problem of a row of somebody who wasn't known any more


class Batch(Protocol):
    """Encoded rows of one day."""

    @property
    def models(self) -> Sequence[Served]:
        """The models that the rows name by their keys."""

    @property
    def moment(self) -> datetime:
        """A moment of the day, in UTC."""

    @property
    def content(self) -> bytes:
        """The rows for COPY."""

    @property
    def unknown(self) -> Sequence[str]:
        """The ids of rows that say that nobody knows the entity."""


class PredictionWriter:
    """Belongs to one thread, as does `database`. Partitions older than `keep_days` are dropped.

    `copy` names the query that takes the rows.
    """

    def __init__(
        self,
        database: Database,
        keep_days: int,
        now: Callable[[], datetime],
        copy: str = "copy_predictions",
    ) -> None:
        self._copy = copy
        self._database = database
        self._keep_days = keep_days
        self._now = now
        self._reset()

    def _reset(self) -> None:
        self._prepared_on: date | None = None
        self._days: set[date] = set()
        self._models: set[LoggedModel] = set()

    def prepare(self) -> None:
        """On the first call of a day, make partitions for it and the next, and drop the too old.

        Raises DatabaseUnavailable.
        """
        today = self._now().astimezone(UTC).date()
        if today == self._prepared_on:
            return
        self._create({today, today + _DAY})
        try:
            dropped = partitions.drop_partitions_before(
                self._database, today - self._keep_days * _DAY
            )
        except DatabaseUnavailable as error:  # the next day tries again
            log.warning("prediction_log_keeps_old_days", message=error.message)
        else:
            if dropped:
                log.info("prediction_log_dropped_old_days", days=dropped)
        self._prepared_on = today

    def write(self, batches: Sequence[Batch]) -> None:
        """Write all of the rows or none; without an error they are committed.

        Raises ValueError for rows that can never be written; after any other error, retry.
        """
        try:
            self._create({batch.moment.astimezone(UTC).date() for batch in batches})
            with self._database.transaction():
                for model in self._new_models(batches):
                    facts = model.facts
                    self._database.execute("record_served_model", served_model=model.key, **facts)
                    self._models.add(model)
                content = self._without_forgotten(batches)
                self._database.copy(self._copy, b"".join([BEGIN, content, END]))
        except BaseException:
            self._reset()  # what was known of the database may not be true any more
            raise

    def close(self) -> None:
        """Close its connections."""
        self._database.close()

    def _create(self, wanted: set[date]) -> None:
        if not wanted <= self._days:
            partitions.create_partitions(self._database, wanted)
            self._days |= wanted

    def _without_forgotten(self, batches: Sequence[Batch]) -> bytes:
        """The rows without ids of people who were forgotten: somebody may ask for one for years."""
        content = b"".join(batch.content for batch in batches)
        self._database.execute("wait_for_forgetting")
        oldest = min(batch.moment for batch in batches)
        if self._database.row("forgotten_since", moment=oldest)["forgotten"]:
            content = self._without_predictions_of_forgotten(content)
        unknown = {as_stored(one) for batch in batches for one in batch.unknown if "\0" not in one}
        if not unknown:
            return content
        for row in self._database.rows("forgotten_among", ids=sorted(unknown)):
            # A field begins with its length, so that no other one has these bytes.
            forgotten = text_field(f"forgotten {row['forgotten_id']}")
            content = content.replace(text_field(row["entity"]), forgotten)
        return content

    def _without_predictions_of_forgotten(self, content: bytes) -> bytes:
        """The rows without those that had a prediction: they were made before the person was
        forgotten, and have waited here."""
        rows = [(row, of_row[-1], of_row[-3]) for row, of_row in fields(content)]
        ids = sorted({entity.decode() for _, entity, _ in rows if b"\0" not in entity})
        found = self._database.rows("forgotten_among", ids=ids)
        forgotten = {row["entity"].encode() for row in found}
        return b"".join(
            row for row, entity, problem in rows if entity not in forgotten or problem == _UNKNOWN
        )

    def _new_models(self, batches: Sequence[Batch]) -> set[LoggedModel]:
        served = {id(one): one for batch in batches for one in batch.models}.values()
        return {LoggedModel.from_served(one) for one in served} - self._models
