"""What a campaign brought: those who were to be contacted beside those who were held out. Pure.

Who was to be contacted and who was held out was drawn at random, so that both are alike but for the
contact. They are compared as they were drawn, whoever was contacted then (by intention to treat):
those who could be reached, or whom somebody called although they were held out, aren't like the
others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streamflow.training.statistics.shares import Estimate, difference, least_difference, share

Outcome = Literal["fewer", "more", "can't tell"]

# Entities with a label on either side, below which one or two of them decide what is found.
FEWEST = 30
# What both sides' shares of contacted may differ by, so that an effect per contact is computed.
LEAST_DIFFERENCE_OF_CONTACTED = 0.2
# How often the sides are said to lack labels unequally where they don't.
UNEQUAL_ERROR = 0.01


@dataclass(frozen=True)
class Side:
    """One side of a comparison: `entities` were drawn, `contacted` of them were contacted,
    `labelled` have a label, which is true for `true`; `contacted_labelled` have both."""

    entities: int
    contacted: int
    labelled: int
    true: int
    contacted_labelled: int

    @property
    def share_true(self) -> Estimate | None:
        """The share of true labels with its interval; None without a label."""
        return share(self.true, self.labelled) if self.labelled else None

    @property
    def share_contacted(self) -> float:
        """Of those with a label."""
        return self.contacted_labelled / self.labelled if self.labelled else 0.0


@dataclass(frozen=True)
class Effect:
    """What a campaign brought.

    `fewer` is by how much lower the share of true labels is among those who were to be contacted
    than among those held out, with its 95 % interval; `kept` is the same as a number of entities.
    `per_contact` is it for each entity that was contacted because it was to be: `fewer` divided by
    the difference of the shares that were contacted, None where few were. It takes for granted that
    being on the list changes nothing without a contact.
    """

    outcome: Outcome
    message: str
    what_to_do: str
    to_contact: Side
    held_out: Side
    fewer: Estimate | None
    kept: Estimate | None
    per_contact: Estimate | None


def effect(to_contact: Side, held_out: Side) -> Effect:
    """The effect of a campaign by its two sides.

    The interval is Newcombe's for the difference of two shares.
    """
    fewer = kept = per_contact = None
    if to_contact.labelled and held_out.labelled:
        fewer = difference(_share(held_out), _share(to_contact))
        kept = _times(fewer, to_contact.labelled)
        by_contact = to_contact.share_contacted - held_out.share_contacted
        if by_contact >= LEAST_DIFFERENCE_OF_CONTACTED:
            per_contact = _times(fewer, 1 / by_contact)
    unknown = _why_unknown(to_contact, held_out)
    outcome: Outcome = "can't tell"
    if unknown is not None:
        message, what_to_do = unknown
    else:
        assert fewer is not None
        if fewer.low > 0:
            outcome, what_to_do = "fewer", ""
        elif fewer.high < 0:
            outcome = "more"
            what_to_do = "Contact nobody in this way again before it is known why."
        else:
            what_to_do = "Hold out more (`streamflow export --hold-out SHARE`), or contact more."
        message = _in_words(outcome, to_contact, held_out, fewer)
    return Effect(outcome, message, what_to_do, to_contact, held_out, fewer, kept, per_contact)


def _why_unknown(to_contact: Side, held_out: Side) -> tuple[str, str] | None:
    """Why nothing can be told whatever the labels are, and what to do; None if it can."""
    if not to_contact.contacted:
        return (
            "Of those who were to be contacted, nobody is recorded as contacted.",
            "Record who was: `streamflow campaign record FILE`.",
        )
    if not held_out.entities:
        return (
            "Nobody was held out, so that nobody shows what would have come without the campaign.",
            "Hold some out next time: `streamflow export --hold-out 10%`.",
        )
    if not to_contact.labelled and not held_out.labelled:
        return (
            "None of the listed has a label yet.",
            "Load the labels with `streamflow ingest` when they have come.",
        )
    for side, said in ((to_contact, "to be contacted"), (held_out, "held out")):
        if side.labelled < FEWEST:
            return (
                f"Only {side.labelled:,} of those {said} have a label; below {FEWEST}, one or two "
                "of them decide what is found.",
                "Contact and hold out more, on a longer list: `streamflow export --top SHARE`.",
            )
    missing = [
        share(side.entities - side.labelled, side.entities, UNEQUAL_ERROR)
        for side in (to_contact, held_out)
    ]
    unequal = difference(missing[0], missing[1])
    if unequal.low > 0 or unequal.high < 0:
        return (
            f"Labels are missing for {_percent(missing[0].value)} of those to be contacted and for "
            f"{_percent(missing[1].value)} of those held out: both sides aren't alike any more.",
            "Load the labels that are missing with `streamflow ingest`.",
        )
    return None


def _in_words(outcome: Outcome, to_contact: Side, held_out: Side, fewer: Estimate) -> str:
    found = (
        f"{_percent(_share(to_contact).value)} of the {to_contact.labelled:,} who were to be "
        f"contacted, and {_percent(_share(held_out).value)} of the {held_out.labelled:,} held out: "
    )
    low, high = fewer.low * 100, fewer.high * 100
    if outcome == "fewer":
        return (
            f"{found}{fewer.value * 100:.1f} points fewer (95 % interval: {low:.1f} to {high:.1f})."
        )
    if outcome == "more":
        points = f"{-fewer.value * 100:.1f} points more"
        return f"{found}{points} (95 % interval: {-high:.1f} to {-low:.1f})."
    true_share = (to_contact.true + held_out.true) / (to_contact.labelled + held_out.labelled)
    least = least_difference(to_contact.labelled, held_out.labelled, true_share)
    return (
        f"{found}from {-low:.1f} points more to {high:.1f} points fewer (95 % interval). It may be "
        f"chance; with "
        f"so many on each side, a difference of about {least * 100:.0f} points would be seen."
    )


def _share(side: Side) -> Estimate:
    return share(side.true, side.labelled)


def _times(one: Estimate, factor: float) -> Estimate:
    return Estimate(one.value * factor, one.low * factor, one.high * factor)


def _percent(value: float) -> str:
    return f"{value * 100:.1f} %"
