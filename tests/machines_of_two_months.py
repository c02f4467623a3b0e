"""The use case of failing machines, whose challengers learn from two months, with gates that let
them through."""

from __future__ import annotations

from dataclasses import replace

from tests import tiny_case
from tests.promoting import LENIENT

from streamflow.use_case import Retraining

use_case = replace(
    tiny_case.use_case, gates=LENIENT, retraining=Retraining(fewest_new_labels=100, months=2)
)
