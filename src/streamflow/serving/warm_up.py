"""A model before it serves: checked against its needs, and used once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from streamflow.errors import UnservableModel
from streamflow.registry.trial_process import plain_value, scores_fault
from streamflow.registry.unservable import unservable
from streamflow.serving.scoring import Served
from streamflow.training.served_model import ServedModel

if TYPE_CHECKING:
    from streamflow.registry.records import ModelVersion
    from streamflow.serving.online_store import OnlineStore


def warmed_up(
    version: ModelVersion, model: ServedModel, online: OnlineStore, join_key: str
) -> Served:
    """The version, ready to serve: the slow first calls are made here, not by a request.

    Raises UnservableModel, FeatureStoreUnavailable, and whatever the model raises.
    """
    if model.schema.join_key != join_key:
        raise unservable(
            version, f"its join key is {model.schema.join_key!r}, this API's is {join_key!r}"
        )
    candidate = Served(version, model, online.plan(model.schema))
    row = {feature.name: [plain_value(feature)] for feature in model.schema.features}
    labels, probabilities = model.predict(row)
    if (fault := scores_fault(labels, probabilities, 1)) is not None:
        raise unservable(version, fault)
    online.require_values(candidate.plan)
    online.read(candidate.plan, ["warm-up"])
    return candidate


def planned_again(served: Served, version: ModelVersion, online: OnlineStore) -> Served:
    """What is served, as the version is recorded now, with the store's plan of now; itself if both
    are as they were.

    The store may have another table of the same features by now. Where it can't be asked, which is
    told elsewhere, the plan stays. Raises UnservableModel if it hasn't the features any more.
    """
    try:
        plan = online.plan(served.schema)
    except UnservableModel:
        raise
    except Exception:
        plan = served.plan
    if served.version == version and served.plan == plan:
        return served
    return replace(served, version=version, plan=plan)
