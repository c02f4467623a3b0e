"""The use case of failing machines for tests of many months, with gates that let it through."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests import tiny_case
from tests.promoting import LENIENT

from streamflow.use_case import Retraining

use_case = replace(
    tiny_case.use_case,
    gates=LENIENT,
    retraining=Retraining(cool_down=timedelta(days=80), fewest_new_labels=100),
)
