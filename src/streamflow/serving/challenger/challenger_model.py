"""The version in Staging, loaded: it scores what the version in Production has answered."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from streamflow import log
from streamflow.errors import FeatureStoreUnavailable, StreamFlowError
from streamflow.serving.challenger.scored_rows import ScoredRows, outcomes

if TYPE_CHECKING:
    from streamflow.serving.online_store import OnlineStore
    from streamflow.serving.predictor import Predictor
    from streamflow.serving.scoring import Prediction, Served

# The problem of a row whose score can't be used, or of all rows if the model raises an error.
MODEL_FAILED = "model_failed"


class ChallengerModel:
    """Any thread may score with it, but the event loop shouldn't: it may read features.

    `predictor` has the challenger, over `online`, whose connections no answer waits for;
    `production` has the version that answers.
    """

    def __init__(self, predictor: Predictor, online: OnlineStore, production: Predictor) -> None:
        self._predictor = predictor
        self._online = online
        self._production = production
        self._logged: Served | None = None
        # The last two models that were compared, and whether they read the same features.
        self._compared: tuple[Served | None, Served | None, bool] = None, None, False

    @property
    def served(self) -> Served | None:
        """The version in Staging; None while there is none that can be served."""
        return self._predictor.served

    def score(self, challenger: Served, scored: ScoredRows) -> list[Prediction | str]:
        """Per request its prediction, or the code of the problem why there is none.

        Features that were read for the answer are used again if both models read the same ones.
        Raises FeatureStoreUnavailable.
        """
        if (newest := self._production.newest) is not None:
            self._predictor.set_newest(newest)
        try:
            rows = scored.rows
            if not self._reads_the_same(scored.served, challenger):
                ids = [request.entity_id for request in scored.requests]
                rows = self._online.read(challenger.plan, ids)
            results = self._predictor.score(challenger, scored.requests, rows, scored.moment)
        except FeatureStoreUnavailable:
            raise
        except StreamFlowError as error:
            return [error.code] * len(scored.requests)
        except Exception as error:
            if self._logged is not challenger:
                self._logged = challenger
                log.failure("challenger_failed", error, model_version=challenger.version.version)
            return [MODEL_FAILED] * len(scored.requests)
        return [_usable(one) for one in outcomes(results)]

    def _reads_the_same(self, served: Served, challenger: Served) -> bool:
        one, other, same = self._compared
        if one is not served or other is not challenger:
            same = served.plan is not None and served.plan == challenger.plan
            self._compared = served, challenger, same
        return same


def _usable(outcome: Prediction | str) -> Prediction | str:
    if isinstance(outcome, str):
        return outcome
    usable = isfinite(outcome.probability) and 0 <= outcome.probability <= 1
    return outcome if usable and outcome.prediction in (0, 1) else MODEL_FAILED
