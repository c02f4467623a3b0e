"""Which versions may serve: those that a promotion or a rollback brought to Production. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from streamflow.errors import ModelRefused
from streamflow.promotion.change import Change
from streamflow.registry.stages import PRODUCTION


class UngatedProduction(ModelRefused):
    """What is in Production was brought there elsewhere, and has passed no gate."""


def is_admitted(changes: Sequence[Change], version: int, model_hash: str) -> bool:
    """Whether the version, with this model, was brought to Production by a recorded promotion.

    Of promotions from before there was a history, the model isn't known: the version will do.
    """
    return any(
        _admits(change) and change.version == version and same_model(change, model_hash)
        for change in changes
    )


def last_admitted(changes: Sequence[Change]) -> Change | None:
    """The change that brought to Production what may serve last; None if nothing may.

    What was changed elsewhere counts if the version was admitted before. A stage that was emptied
    elsewhere doesn't; one that a promotion emptied does.
    """
    found: Change | None = None
    for number, change in enumerate(changes):
        if not change.moves:
            continue
        if change.to_stage == PRODUCTION:
            if change.version is None:
                continue
            before = changes[:number]
            if change.ours or is_admitted(before, change.version, change.model_hash):
                found = change
        elif change.ours and found is not None and change.version == found.version:
            found = None
    return found


def ungated(
    changes: Sequence[Change], model: str, version: int | None, model_hash: str
) -> UngatedProduction:
    """The error for what is in Production and isn't served; `version` is None if nothing is."""
    last = last_admitted(changes)
    goes_on = f"Version {last.version} keeps answering." if last else "Nothing answers."
    back = (
        f"Or bring version {last.version} back with `streamflow rollback --why …`."
        if last
        else "Or promote another version."
    )
    if version is None:
        stop = f"`streamflow promote {last.version} --to archived --why …`" if last else ""
        return UngatedProduction(
            f"Production of {model!r} was emptied elsewhere, not by StreamFlow. {goes_on}",
            f"To stop it, run {stop}. {back}",
        )
    other = [one for one in changes if _admits(one) and one.version == version]
    what = (
        f"Version {version} of {model!r} is in Production with another model than the one that "
        f"was promoted: its hash is {model_hash[:12] or 'missing'}."
        if other
        else f"Version {version} of {model!r} is in Production, and no promotion brought it there: "
        "it was changed elsewhere, and no gate has seen it."
    )
    return UngatedProduction(
        f"{what} {goes_on}",
        f"Run `streamflow promote {version} --to production --why …`. {back}",
    )


def _admits(change: Change) -> bool:
    return change.ours and change.to_stage == PRODUCTION


def same_model(change: Change, model_hash: str) -> bool:
    """Whether the change was about this model; of changes from before there was a history, it
    isn't known, and taken for granted."""
    taken_over = not change.model_hash and "promotion_id" in change.details
    return taken_over or change.model_hash == model_hash
