"""What the parts of a monitoring work with: the version, the months, the rate of false alarms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from streamflow.monitoring.alarm import TRAINING
from streamflow.monitoring.reading.learned import Learned
from streamflow.monitoring.reading.month_rows import History
from streamflow.monitoring.rules.compared import Compared
from streamflow.platform import Platform


@dataclass(frozen=True)
class MonthMonitored:
    """What the parts of a monitoring work with."""

    platform: Platform
    history: History
    learned: Learned
    as_of: date
    before: date | None
    level: float
    tests: int

    @property
    def entities(self) -> str:
        """What the entities are called."""
        return self.platform.use_case.entity_table

    def compared(self, with_what: str, rows: int | None = None) -> Compared:
        """A comparison with training or with the month before."""
        months = ", ".join(map(str, self.learned.months))
        words = (
            f"training ({months})" if with_what == TRAINING else f"{self.before}, the month before"
        )
        return Compared(
            with_what, words, self.entities, self.level, self.platform.use_case.monitoring, rows
        )
