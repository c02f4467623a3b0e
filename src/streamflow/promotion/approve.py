"""A person's approval of a version, which the gate *approval* asks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from streamflow.platform import Platform
from streamflow.promotion import model_history
from streamflow.promotion.lookup import anchors


@dataclass(frozen=True)
class Approved:
    """An approval; `changed` is False if the same person had approved the same model before."""

    version: int
    model_hash: str
    who: str
    why: str
    changed: bool


def approve(platform: Platform, version: int, why: str, who: str, now: datetime) -> Approved:
    """Record that `who` approves the version with the model that it has now.

    Raises UnknownVersion, MlflowUnavailable.
    """
    database, registry = platform.database, platform.registry
    head = None
    with database.transaction():
        database.execute("lock_promotion", model=registry.model)
        candidate = registry.version(version)
        known = any(
            (one.kind, one.version, one.model_hash, one.who)
            == ("approved", version, candidate.model_hash, who)
            for one in model_history.changes(database, registry.model)
        )
        if not known:
            change = model_history.about(
                candidate, "approved", who, why, now, from_stage=candidate.stage
            )
            head = model_history.record(database, change)
    if head is not None:
        anchors.anchor(platform, head)
    return Approved(version, candidate.model_hash, who, why, changed=head is not None)
