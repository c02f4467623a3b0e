"""The steps after a list was used: who was contacted, and what the campaign brought."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from streamflow.errors import DataRefused
from streamflow.hashes import sha256_of
from streamflow.history.labels import matured_at
from streamflow.history.months import require_past
from streamflow.platform import Platform
from streamflow.scores.campaigns import recorded
from streamflow.scores.campaigns.contact_file import read_contacts, require_not_before
from streamflow.scores.campaigns.effect import Effect, effect
from streamflow.scores.campaigns.recorded import RecordedContacts, RecordedList, UnknownList


class OtherList(DataRefused):
    """The file is of another list than the one that is named."""


@dataclass(frozen=True)
class ContactsOfList:
    """What recording a file of contacts did. `left_out` counts its rows without a day."""

    list_id: int
    campaign: str
    as_of: date
    contacts: RecordedContacts
    left_out: int


@dataclass(frozen=True)
class CampaignEffect:
    """What the campaign of one list brought, by the labels that count at `known_at` (UTC).

    `label` is the label's column. `early_labels` were known before the list was exported, so that
    no contact can have changed them.
    """

    list_id: int
    campaign: str
    as_of: date
    known_at: datetime
    label: str
    effect: Effect
    early_labels: int


def record(
    platform: Platform, file: Path, list_id: int | None, who: str, now: datetime
) -> ContactsOfList:
    """Record who of a list was contacted; the same file again adds nothing.

    The list is the one that the file names, else `list_id`, else the only one there is.
    Raises MissingFiles, UnreadableFile, ContactsRefused, UnknownList, OtherList.
    """
    given = read_contacts(file, platform.use_case.join_key, now.date())
    if None not in (list_id, given.list_id) and list_id != given.list_id:
        raise OtherList(
            f"{file} is of list {given.list_id}, and --list names {list_id}.",
            "Leave out --list, or name the file of that list.",
        )
    model, database = platform.registry.model, platform.database
    one = recorded.list_of(database, model, given.list_id if list_id is None else list_id)
    require_not_before(file, given, one.facts.as_of)
    done = recorded.record_contacts(database, one.list_id, given.days, sha256_of(file), who, now)
    return ContactsOfList(one.list_id, one.facts.campaign, one.facts.as_of, done, given.left_out)


def effects(
    platform: Platform,
    now: datetime,
    as_of: date | None = None,
    list_id: int | None = None,
    known_at: datetime | None = None,
) -> list[CampaignEffect]:
    """What the campaigns brought, one for each list that somebody is recorded as contacted of.

    With `as_of` or `list_id`, the lists of that month or with that number, contacts or not.
    Labels are those that count at `known_at` (UTC; `now` if it is None).
    Raises UnknownList, KnownAtRefused.
    """
    known_at = known_at or now
    require_past(known_at, now)
    model, database = platform.registry.model, platform.database
    there = recorded.lists(database, model)
    if list_id is not None:
        there = [recorded.list_of(database, model, list_id)]
    if as_of is not None:
        there = [one for one in there if one.facts.as_of == as_of]
    if not there:
        of_month = "" if as_of is None else f" of AS_OF {as_of}"
        raise UnknownList(
            f"No list{of_month} of {model!r} was exported.",
            f"Export one: `streamflow export --as-of {as_of or 'DATE'} --top 5%`.",
        )
    found = [_effect(platform, one, known_at) for one in there]
    used = [
        one for one in found if one.effect.to_contact.contacted or one.effect.held_out.contacted
    ]
    return used or found[-1:]


def _effect(platform: Platform, one: RecordedList, known_at: datetime) -> CampaignEffect:
    use_case, facts = platform.use_case, one.facts
    found = recorded.sides(platform, one, known_at)
    made = effect(found.to_contact, found.held_out)
    labelled = found.to_contact.labelled + found.held_out.labelled
    matured = matured_at(use_case, facts.as_of)
    if not labelled and matured > known_at:
        made = replace(
            made,
            message=f"The labels of AS_OF {facts.as_of} can be known from {matured:%Y-%m-%d} on.",
            what_to_do="Load them with `streamflow ingest` then, and run this again.",
        )
    elif found.early and found.early == labelled:
        made = replace(
            made,
            outcome="can't tell",
            message=f"All labels of AS_OF {facts.as_of} were known before the list was exported "
            f"({one.exported_at:%Y-%m-%d %H:%M} UTC): no contact can have changed them.",
            what_to_do="Export a list before its labels come; see Label(…, horizon=…) in the use "
            "case.",
        )
    return CampaignEffect(
        list_id=one.list_id,
        campaign=facts.campaign,
        as_of=facts.as_of,
        known_at=known_at,
        label=use_case.label.column,
        effect=made,
        early_labels=found.early,
    )
