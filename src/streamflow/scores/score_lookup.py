"""Stored scores by entity, for the API's event loop: one statement for all that wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_postgres.event_loop_connection import ConnectionLost, EventLoopConnection
from streamflow.errors import DatabaseUnavailable
from streamflow.history.withdrawals.known_rows import month_stands
from streamflow.postgres.database import Address
from streamflow.postgres.queries import literal, statement
from streamflow.scores.one_score import EntityScore, Reason, entity_score
from streamflow.scores.scorings import Scoring, no_scoring
from streamflow.serving.callbacks import Callback, call
from streamflow.use_case import UseCase

if TYPE_CHECKING:
    from feast_postgres.online_rows import ResultRows

_MOST_AT_ONCE = 1_000
# Columns of a row of the statement, after the position of the id.
_SCORING, _SCORE, _REASON = slice(1, 14), slice(14, 19), slice(19, 25)


@dataclass(frozen=True)
class _Lookup:
    entity_id: str
    callback: Callback[EntityScore]


class ScoreLookup:
    """Reads scores of the newest scoring of a use case's model.

    It belongs to one event loop, in which it must be opened. Lookups that arrive while a statement
    is in progress share the next one. A statement may take `patience_seconds`.
    """

    def __init__(self, address: Address, use_case: UseCase, patience_seconds: float = 1.0) -> None:
        self._model, self._use_case = use_case.registered_model, use_case.name
        self._join_key = use_case.join_key
        self._connection = EventLoopConnection(
            address, self._dispatch, patience_seconds=patience_seconds
        )
        self._waiting: deque[_Lookup] = deque()
        self._newest = 0  # the number of the scoring that the statement reads; none has 0
        self._statement = self._statement_of(self._newest)
        self._scoring: Scoring | None = None

    async def open(self, patience_seconds: float) -> None:
        """Connect, for at most `patience_seconds`; then attempts go on in the background."""
        await self._connection.open(patience_seconds)

    async def close(self) -> None:
        """Close the connection; lookups in progress fail."""
        await self._connection.close()

    def submit(self, entity_id: str, callback: Callback[EntityScore]) -> None:
        """Look up the entity's newest score; `callback` receives it, later or at once, or
        NoScoring, UnknownScore, NotScored or DatabaseUnavailable."""
        self._waiting.append(_Lookup(entity_id, callback))
        self._dispatch()

    def _dispatch(self) -> None:
        if not self._connection.connected:
            waiting, self._waiting = self._waiting, deque()
            self._fail(waiting, ConnectionLost("it can't be reached"))
        elif self._waiting and self._connection.idle:
            several = min(len(self._waiting), _MOST_AT_ONCE)
            self._send([self._waiting.popleft() for _ in range(several)])

    def _send(self, lookups: list[_Lookup]) -> None:
        def received(outcome: ResultRows | Exception) -> None:
            if isinstance(outcome, Exception):
                self._fail(lookups, outcome)
            elif (newest := outcome[0][1]) not in (None, self._newest):
                # Everyone was scored since. The statement has the number of the scoring before.
                self._newest, self._statement = newest, self._statement_of(newest)
                self._waiting.extendleft(reversed(lookups))
            else:
                self._finish(lookups, outcome)
            self._dispatch()

        ids = [one.entity_id for one in lookups]
        self._connection.send(self._statement, ids, received)

    def _statement_of(self, scoring_id: int) -> bytes:
        parts = {
            "model": literal(self._model),
            "month_stands": month_stands(self._use_case, "scorings"),
            "scoring_id": literal(scoring_id),
        }
        return statement("scores_of", parts)

    def _finish(self, lookups: list[_Lookup], rows: ResultRows) -> None:
        by_position: dict[int, ResultRows] = {}
        for row in rows:
            by_position.setdefault(row[0], []).append(row)
        for position, one in enumerate(lookups, 1):
            outcome: EntityScore | Exception
            try:
                outcome = self._score(one.entity_id, by_position[position])
            except Exception as error:
                outcome = error
            call(one.callback, outcome)

    def _score(self, entity_id: str, rows: ResultRows) -> EntityScore:
        if rows[0][1] is None:
            raise no_scoring(self._model)
        if self._scoring is None or self._scoring.scoring_id != rows[0][1]:
            self._scoring = Scoring(*rows[0][_SCORING])  # it never changes
        reasons = tuple(Reason(*row[_REASON]) for row in rows if row[_REASON][0] is not None)
        return entity_score(self._join_key, entity_id, self._scoring, rows[0][_SCORE], reasons)

    def _fail(self, lookups: Iterable[_Lookup], error: Exception) -> None:
        for one in lookups:
            problem = DatabaseUnavailable(
                f"PostgreSQL doesn't answer: {error}.", "Try again in a moment."
            )
            problem.__cause__ = error
            call(one.callback, problem)
