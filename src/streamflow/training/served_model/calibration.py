"""The correction of a model's probabilities, fitted on rows that the model hadn't seen."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from .encoding import Matrix

CALIBRATION_FILE = "calibration.json"
# Below and above these, a probability has no finite log-odds, or none that is worth a name.
_LEAST, _MOST = np.finfo(np.float64).tiny, 1.0 - 2.0**-53


@dataclass(frozen=True)
class Calibration:
    """A function of what the model says, its probability of 1 or the log-odds of that (`of`).

    "sigmoid": the probability whose log-odds are `intercept` + `slope` * the model's word.
    "isotonic": `probabilities` at these `scores`, straight lines between, and the first and the
    last beyond.
    """

    method: Literal["sigmoid", "isotonic"]
    of: Literal["probability", "log-odds"]
    slope: float = 0.0
    intercept: float = 0.0
    scores: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()

    def __call__(self, given: Matrix) -> Matrix:
        """Corrected probabilities of 1, from those of the model; (rows,)."""
        said = _log_odds(given) if self.of == "log-odds" else given
        if self.method == "isotonic":
            found: Matrix = np.interp(said, self.scores, self.probabilities)
            return found
        with np.errstate(over="ignore"):  # the inverse of infinity is 0
            return np.asarray(1.0 / (1.0 + np.exp(-(self.slope * said + self.intercept))))

    def to_json(self) -> str:
        """The document `calibration.json`."""
        return json.dumps(asdict(self)) + "\n"


def calibration(folder: Path) -> Calibration | None:
    """That of the model in `folder`; None of one whose probabilities are its own."""
    path = folder / CALIBRATION_FILE
    if not path.exists():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    lists = {name: tuple(document[name]) for name in ("scores", "probabilities")}
    return Calibration(**{**document, **lists})


def _log_odds(probabilities: Matrix) -> Matrix:
    kept = np.clip(probabilities, _LEAST, _MOST)
    found: Matrix = np.log(kept) - np.log1p(-kept)
    return found
