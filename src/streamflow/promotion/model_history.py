"""The history of a model: every change of who is in a stage, chained by hashes.

The rows are in `streamflow.model_history`. Each is written with its event, in the transaction of
whoever calls `record`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from streamflow.postgres.database import Database
from streamflow.promotion.change import Change, Head, Kind, RecordedChange
from streamflow.registry.records import ModelVersion


def about(
    version: ModelVersion, kind: Kind, who: str, why: str, at: datetime, **rest: Any
) -> Change:
    """A change of this version with the model that it has now, to be recorded; `rest` are further
    fields of it."""
    found = {"model_hash": version.model_hash, "run_id": version.run_id, **rest}
    return Change(kind, version.name, version.version, who, why, at, **found)


def record(database: Database, change: Change) -> Head:
    """Append the change and its event, in the caller's transaction if there is one."""
    return _append(database, "record_model_change", change)


def record_noticed(database: Database, change: Change) -> Head:
    """Append what the API may append: a change made elsewhere, and the end of a canary.

    Raises NotPermitted for another kind.
    """
    return _append(database, "record_noticed_change", change)


def changes(database: Database, model: str, after: int = 0) -> list[RecordedChange]:
    """The model's changes with a number above `after`, oldest first."""
    rows = database.rows("model_history", model=model, after=after)
    return [RecordedChange(**row) for row in rows]


def _append(database: Database, query: str, change: Change) -> Head:
    row = database.row(
        query,
        model=change.model,
        changed_at=change.at,
        kind=change.kind,
        who=change.who,
        why=change.why,
        version=change.version,
        model_hash=change.model_hash,
        run_id=change.run_id,
        from_stage=change.from_stage,
        to_stage=change.to_stage,
        replaced=change.replaced,
        details=json.dumps(as_json(change.details)),
    )
    return Head(**row)


def as_json(value: Any) -> Any:
    """The value as JSON has it, which knows no number that isn't finite: null in its place."""
    if isinstance(value, Mapping):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [as_json(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
