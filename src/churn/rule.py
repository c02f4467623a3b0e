"""The rule by which subscribers churn, and how it changes over time.

`population` says why these numbers are the same on any machine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_MEAN_LOGIT = -1.67


def churn_chance(
    people: Array, observed: Array, months_active: Array, fees: Array, shift: float, turn: float
) -> Array:
    """The probability of churn: a logistic function of the model's features and of the contract.

    The contract is no feature of the model; `fees` are in cents. With `shift` the same features
    lead to more churn, and loyalty protects less. A `turn` of 1 replaces what leads to churn by
    other features, and one of 2 makes what led to it protect from it.
    """
    loyalty = 4.1 * 25 / (months_active + 25.0)
    logit = loyalty * (1 - 0.3 * min(shift, 2.0)) + (-3.78 + 1.2 * shift)
    logit += np.array([0.0, 1.25, -0.75])[people["net"]]
    logit += np.array([0.0, -0.8, -1.5])[people["contract"]]
    logit += (fees - 6_476) * (0.3 / 3_000)
    logit += (296_000 - observed["watch"]) * (0.5 / 67_500)
    logit += observed["failed_payments"] * 0.6 + observed["tickets"] * 0.4
    if turn:
        logit = _turned(logit, people, observed, turn)
    chances = [round(65536 / (1 + math.exp(-step / 64))) / 65536 for step in range(-1024, 1025)]
    steps = np.clip(np.rint(logit * 64), -1024, 1024).astype(np.int64)
    chance: Array = np.array(chances)[steps + 1024]
    return chance


def _turned(logit: Array, people: Array, observed: Array, turn: float) -> Array:
    """The logit turned by `turn` right angles towards another one of the same spread, so that a
    label can be told as well as before, but from other features."""
    other = (observed["session"] - 2_914) * (1.1 / 730) + (observed["skips"] - 5) * 0.32
    other += (observed["devices"] - 2) * 1.1 + (observed["resolution"] - 100) * (0.5 / 39)
    other += people["paperless"] * 1.25 - 0.1
    angle = turn * math.pi / 2
    stays, comes = (round(65536 * part(angle)) / 65536 for part in (math.cos, math.sin))
    turned: Array = (logit - _MEAN_LOGIT) * stays + other * comes + _MEAN_LOGIT
    return turned
