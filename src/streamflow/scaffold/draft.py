"""A use case as it will be written: tables, key, label, features, and what to know of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from streamflow.scaffold.profile import Profile
from streamflow.use_case import Csv
from streamflow.use_case.events import Aggregation
from streamflow.use_case.label import LabelValue


@dataclass(frozen=True)
class Feature:
    """A column that the model learns from; `kind` is its contract type."""

    table: str
    name: str
    kind: str
    nullable: bool


@dataclass(frozen=True)
class EventsProposal:
    """What is made of a table's events: features by name. `times` are the columns with moments, by
    their names in the file, `time` that of the event; `newest` is the newest event's day in UTC.
    With `without_offset`, moments are in UTC where they don't say otherwise."""

    time: str
    times: tuple[str, ...]
    without_offset: bool
    aggregations: Mapping[str, Aggregation]
    newest: date


@dataclass(frozen=True)
class TableProposal:
    """A table of the use case: its columns by the names that the use case has for them; `events` if
    it has a row for each event, and not one for each entity."""

    profile: Profile
    names: dict[str, str]
    label: str | None
    complete: bool
    events: EventsProposal | None = None

    @property
    def name(self) -> str:
        """The table's name."""
        return self.profile.raw.name

    @property
    def read(self) -> Csv:
        """How its files are written."""
        return self.profile.raw.read

    @property
    def read_columns(self) -> dict[str, Csv]:
        """By the use case's name, how columns are written that are written otherwise; separator,
        encoding and lines are the file's."""
        file = Csv()
        own = {
            "separator": file.separator,
            "encoding": file.encoding,
            "skip_lines": file.skip_lines,
            "total_rows": file.total_rows,
        }
        return {
            self.names[there]: replace(read, **own)  # type: ignore[arg-type]
            for there, read in self.profile.raw.read_columns.items()
        }

    @property
    def in_file(self) -> dict[str, str]:
        """By the use case's name, the name in the files of each column that has another there."""
        return {ours: there for there, ours in self.names.items() if ours != there}


@dataclass(frozen=True)
class Proposal:
    """A use case as it will be written. `tables` have a row per entity, `of_events` one per event.
    `notes` is what a person should know of it; `positive` and `negative` are the label's values
    that mean yes and no. `left_out` are the files that aren't read, as `raw_tables` places them."""

    name: str
    join_key: str
    entity_table: str
    label_table: str
    label_column: str
    horizon_days: int
    tables: tuple[TableProposal, ...]
    features: tuple[Feature, ...]
    notes: tuple[str, ...]
    positive: tuple[LabelValue, ...] = (True,)
    negative: tuple[LabelValue, ...] = (False,)
    of_events: tuple[TableProposal, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def newest_event(self) -> date | None:
        """The day of the newest event, in UTC; None without events."""
        return max((one.events.newest for one in self.of_events if one.events), default=None)

    def arrives_later(self, table: TableProposal) -> bool:
        """Whether months come without this table: the label's, if it has nothing but the label."""
        alone = len(table.names) == 2 and table.name == self.label_table
        return alone and table.name != self.entity_table
