"""The step that makes a list of whom to contact from a month's scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

import numpy as np

from streamflow.errors import DataRefused
from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.scores import scorings
from streamflow.scores.campaigns import candidates, expected_value, hold_out, recorded, selection
from streamflow.scores.campaigns.candidates import Candidates
from streamflow.scores.campaigns.list_file import (
    ASSIGNMENT,
    CONTACT,
    CONTACTED_ON,
    HOLD_OUT,
    LIST,
    Column,
)
from streamflow.scores.campaigns.recorded import Listed, ListFacts, RecordedList
from streamflow.scores.campaigns.selection import Limits, Selection
from streamflow.scores.scorings import Scoring
from streamflow.training.served_model import Matrix
from streamflow.use_case import Value
from streamflow.use_case.risk_bands import risk_band

REASONS = 3

# Writes the file with these columns.
Write = Callable[[Sequence[Column]], None]


class LimitRefused(DataRefused):
    """A limit of the list that needs what the use case doesn't say, or that nobody fits."""


@dataclass(frozen=True)
class Choice:
    """Which list to make, of the newest scoring of the month `as_of` (by `version`, if given).

    `hold_out` is the share that is left alone, 0 to below 1. Lists of the same `campaign` hold out
    the same entities; None is a campaign of this month alone.
    """

    as_of: date
    limits: Limits
    hold_out: float = 0.1
    campaign: str | None = None
    version: int | None = None


@dataclass(frozen=True)
class Exported:
    """A list of whom to contact.

    `recorded` is False if the same list was exported before. `departed` weren't in the month any
    more when it was scored; `departed_since` were scored, and aren't in `newest_month` any more:
    neither are on the list. `refused` have no score, by the code of the problem. `without_value`
    are of unknown worth. `losing` are on the list and to be contacted, although their expected
    value is below 0. `cost` and `expected` are of all contacts together, in `unit`; None without a
    value.
    """

    list_id: int
    campaign: str
    model: str
    version: int
    as_of: date
    known_at: datetime
    listed: int
    to_contact: int
    held_out: int
    departed: int
    departed_since: int
    newest_month: date
    refused: Mapping[str, int]
    without_value: int
    losing: int
    cost: float | None
    expected: float | None
    unit: str
    recorded: bool


def export_list(
    platform: Platform,
    choice: Choice,
    who: str,
    now: datetime,
    write: Write,
    progress: Progress = silent,
) -> Exported:
    """Choose, record and write the list; the same list again is recorded once, and has the same
    bytes.

    It is ordered by the expected value of a contact, or by probability where the use case says
    nothing of value. If `write` fails, nothing is recorded.
    Raises NoScoring, LimitRefused.
    """
    value = platform.use_case.value
    _require_possible(choice.limits, value)
    progress("read the scores")
    scoring = scorings.newest(platform.database, platform.use_case, choice.as_of, choice.version)
    found = candidates.candidates(platform, scoring)
    progress("choose")
    campaign = choice.campaign or choice.as_of.isoformat()
    salt = hold_out.salt_of(platform.use_case.name, campaign)
    worths = expected = None
    if value is not None:
        worths = expected_value.worth(value, found.column, len(found.entities))
        expected = expected_value.expected_values(found.probabilities, worths, value)
    chosen = selection.select(
        found.entities,
        expected,
        choice.limits,
        0.0 if value is None else value.cost,
        lambda entity: hold_out.is_held_out(entity, salt, choice.hold_out),
    )
    listed = _listed(found, chosen, worths, expected)
    facts = ListFacts(
        model=scoring.model,
        version=scoring.version,
        model_hash=scoring.model_hash,
        run_id=scoring.run_id,
        scoring_id=scoring.scoring_id,
        campaign=campaign,
        as_of=scoring.as_of,
        known_at=scoring.known_at,
        hold_out=choice.hold_out,
        rates={} if value is None else asdict(value),
        limits=choice.limits.as_dict(),
        entities=len(chosen.places),
        held_out=int(chosen.held_out.sum()),
        without_value=chosen.without_value,
        departed=scoring.entities - len(found.entities),
    )
    progress("write")
    with platform.database.transaction():
        one, was_there = recorded.record_list(platform.database, facts, listed, who, now)
        write(_columns(platform, one, found, chosen, listed))
    return _exported(one, scoring, found, listed, value, not was_there)


def _require_possible(limits: Limits, value: Value | None) -> None:
    """Raise LimitRefused for a limit that means nothing in this use case."""
    if value is None and (limits.budget is not None or limits.min_value is not None):
        option = "--budget" if limits.budget is not None else "--min-value"
        raise LimitRefused(
            f"{option} needs what a contact costs and brings, and the use case doesn't say it.",
            'Write in it: value=Value(column="table.column", months=12, success=0.2, cost=5.0); '
            "or name --top.",
        )
    if value is None or limits.budget is None:
        return
    if not value.cost:
        raise LimitRefused(
            "--budget is what contacts may cost together, and by the use case a contact costs "
            "nothing.",
            "Write in it: Value(…, cost=5.0); or name --top.",
        )
    if not selection.affordable(limits.budget, value.cost):
        raise LimitRefused(
            f"--budget {limits.budget} pays for nobody: a contact costs {value.cost:g} {value.unit}"
            ".".replace(" .", "."),
            f"Name at least --budget {value.cost:g}.",
        )


def _listed(
    found: Candidates, chosen: Selection, worths: Matrix | None, expected: Matrix | None
) -> Listed:
    places = chosen.places
    return Listed(
        entities=[found.entities[place] for place in places.tolist()],
        held_out=chosen.held_out.tolist(),
        probabilities=found.probabilities[places].tolist(),
        worths=None if worths is None else worths[places].tolist(),
        expected=None if expected is None else expected[places].tolist(),
    )


def _columns(
    platform: Platform,
    one: RecordedList,
    found: Candidates,
    chosen: Selection,
    listed: Listed,
) -> list[Column]:
    use_case, facts, value = platform.use_case, one.facts, platform.use_case.value
    size = len(listed.entities)
    nothing: list[object] = [None] * size
    bands = [risk_band(use_case.risk_bands, one) for one in listed.probabilities]
    reasons = _reasons(platform, facts.scoring_id, listed.entities)
    return [
        Column(use_case.join_key, "text", listed.entities),
        Column(ASSIGNMENT, "text", [HOLD_OUT if one else CONTACT for one in listed.held_out]),
        Column("position", "whole", range(1, size + 1)),
        Column("expected_value", "number", listed.expected or nothing),
        Column("probability", "number", listed.probabilities),
        Column("rank", "whole", found.ranks[chosen.places].tolist()),
        Column("decile", "whole", found.deciles[chosen.places].tolist()),
        Column("risk_band", "text", bands),
        Column("worth", "number", listed.worths or nothing),
        *(
            Column(f"reason_{place + 1}", "text", [one[place] for one in reasons])
            for place in range(REASONS)
        ),
        # For those who contact: the day, which `campaign record` reads.
        Column(CONTACTED_ON, "date", nothing),
        Column(LIST, "whole", [one.list_id] * size),
        Column("campaign", "text", [facts.campaign] * size),
        Column("as_of", "date", [facts.as_of] * size),
        Column("model_version", "whole", [facts.version] * size),
        Column("worth_from", "text", [None if value is None else value.described] * size),
        Column("success", "number", [None if value is None else value.success] * size),
        Column("cost", "number", [None if value is None else value.cost] * size),
        Column("unit", "text", [None if value is None else value.unit] * size),
    ]


def _reasons(
    platform: Platform, scoring_id: int, entities: Sequence[str]
) -> list[list[str | None]]:
    """The sentences of each entity's strongest reasons; None where there are fewer."""
    rows = platform.database.rows(
        "listed_reasons", scoring_id=scoring_id, entities=list(entities), most=REASONS
    )
    found = {row["entity_id"]: row["sentences"] for row in rows}
    return [([*found.get(entity, ())] + [None] * REASONS)[:REASONS] for entity in entities]


def _exported(
    one: RecordedList,
    scoring: Scoring,
    found: Candidates,
    listed: Listed,
    value: Value | None,
    recorded_now: bool,
) -> Exported:
    facts = one.facts
    to_contact = facts.entities - facts.held_out
    expected = np.array(listed.expected or [], dtype=np.float64)
    of_contacts = expected[~np.array(listed.held_out, dtype=bool)] if len(expected) else expected
    return Exported(
        list_id=one.list_id,
        campaign=facts.campaign,
        model=facts.model,
        version=facts.version,
        as_of=facts.as_of,
        known_at=facts.known_at,
        listed=facts.entities,
        to_contact=to_contact,
        held_out=facts.held_out,
        departed=scoring.departed,
        departed_since=facts.departed,
        newest_month=found.newest_month,
        refused=scoring.refused,
        without_value=facts.without_value,
        losing=int(np.count_nonzero(of_contacts < 0)),
        cost=None if value is None else value.cost * to_contact,
        expected=None if value is None else float(np.sum(of_contacts)),
        unit="" if value is None else value.unit,
        recorded=recorded_now,
    )
