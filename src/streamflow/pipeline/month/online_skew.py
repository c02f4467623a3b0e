"""Every logged prediction's features beside what history says was online, counted by feature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from streamflow.features.online_history import OnlineHistory
from streamflow.monitoring.rules.skew import SkewCounts
from streamflow.pipeline.explain import served_then
from streamflow.pipeline.replay import differing_features, online_rows
from streamflow.platform import Platform
from streamflow.serving import prediction_log_rows
from streamflow.serving.prediction_log_rows import Receipt

_RECEIPTS_AT_A_TIME = 2_000


def online_skew(platform: Platform, since: datetime | None, until: datetime) -> SkewCounts:
    """How many of the predictions that were logged after `since` (UTC; all, if None) and up to
    `until` had other features than history has for what was online then.

    Unknown are predictions without logged features, because no prediction was given, and those of a
    feature view that Feast doesn't know any more.
    Raises FeatureStoreUnavailable, DatabaseUnavailable.
    """
    history: OnlineHistory | None = None
    predictions, unknown, differing = 0, 0, Counter[str]()
    for receipts in _pages(platform, since, until):
        history = history or OnlineHistory(platform.database, platform.use_case)
        predictions += len(receipts)
        for model in dict.fromkeys(receipt.model for receipt in receipts):
            of_model = [one for one in receipts if one.model == model and one.values is not None]
            served = served_then(platform, model)
            differing.update({name: 0 for name, _, _ in model.features})
            rows = online_rows(history, model, served, of_model)
            for receipt, online in zip(of_model, rows, strict=True):
                if len(online) < len(model.views):
                    unknown += 1
                else:
                    differing.update(differing_features(served, receipt, online))
        unknown += sum(one.values is None for one in receipts)
    return SkewCounts(predictions, unknown, dict(sorted(differing.items())))


def _pages(
    platform: Platform, since: datetime | None, until: datetime
) -> Iterator[Sequence[Receipt]]:
    """The receipts in the order of their times, a part at a time."""
    after: tuple[datetime | None, str | None, str | None] = (since, None, None)
    while True:
        rows = platform.database.rows(
            "logged_predictions",
            model=platform.use_case.registered_model,
            after=after[0],
            after_request=after[1],
            after_entity=after[2],
            until=until,
            most=_RECEIPTS_AT_A_TIME,
        )
        if not rows:
            return
        yield [prediction_log_rows.read(row) for row in rows]
        last = rows[-1]
        after = last["predicted_at"], last["request_id"], last["entity_id"]
