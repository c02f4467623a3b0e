"""Which rows a model is fitted on, and which rows judge it.

Pure. Only `out-of-time` says something about the months to come; the other methods judge a model
on months that it has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt

from streamflow.errors import UntrainableData
from streamflow.training.calibrated.estimator import CalibrationMethod
from streamflow.training.rows.days import days
from streamflow.training.rows.entities import numbered
from streamflow.training.values_seen import RowNumbers
from streamflow.use_case import UseCase

Method = Literal["out-of-time", "entities", "random"]
METHODS: tuple[Method, ...] = ("out-of-time", "entities", "random")


@dataclass(frozen=True)
class Validation:
    """How a model is judged.

    `out-of-time`: on the newest `months` months. No label of a training row is known later than
    the first of them, so a longer horizon leaves months out in between.
    `entities`: on a `share` of the entities, none of which is trained on in any month.
    `random`: on a `share` of the rows.
    """

    method: Method
    share: float
    months: int = 1


@dataclass(frozen=True)
class Split:
    """Positions in the training set. Rows of `gap_months` are in neither part."""

    training_rows: RowNumbers
    validation_rows: RowNumbers
    gap_months: tuple[date, ...] = ()


@dataclass(frozen=True)
class Choice:
    """What a model is to learn from, how it is to be judged and found, where somebody says so.

    Of the months up to the as_of the newest `months`, or all `since` a day; else the as_of alone.
    `validation_months` is for `out-of-time`. With `refit`, the model that is served is fitted to
    all rows. With a `sample`, it learns from and is judged on so many entities. With `trials`, so
    many are made in search of it, or those that begin within `search_minutes`. With `calibrate`,
    its probabilities are corrected on folds of the training rows.
    """

    months: int | None = None
    since: date | None = None
    validation: Method | None = None
    validation_months: int | None = None
    refit: bool = False
    sample: int | None = None
    trials: int | None = None
    search_minutes: float | None = None
    calibrate: CalibrationMethod | None = None

    def validation_of(self, months: Sequence[date], use_case: UseCase) -> Validation:
        """The chosen validation; without a choice, the best that the `months` allow: `out-of-time`
        if some can be trained on, else `entities`, and `random` for a single month."""
        method = self.validation or ("out-of-time" if self.validation_months else None)
        if method is None and len(months) < 2:
            method = "random"
        if method is None:
            training, _, _ = divided(months, use_case.label.horizon, 1)
            method = "out-of-time" if training else "entities"
        return Validation(method, use_case.validation_share, self.validation_months or 1)


AS_OF_ALONE = Choice()


def judged_on(validation: Validation, training: Sequence[date], judging: Sequence[date]) -> str:
    """In a sentence, the rows that judge a model and what their figures say. `training` and
    `judging` are the months of either part."""
    if validation.method == "out-of-time":
        return (
            f"Judged on {_named(judging)}, after training on {_named(training)}: "
            "what a month says that the model hasn't seen."
        )
    share = f"{validation.share:.0%}"
    rows = (
        f"{share} of the entities, held out in all months"
        if validation.method == "entities"
        else f"a random {share} of the same month's rows"
        if len(judging) == 1
        else f"a random {share} of the same months' rows"
    )
    return f"Judged on {rows}: this says nothing about next month."


def _named(months: Sequence[date]) -> str:
    ordered = sorted(months)
    return str(ordered[0]) if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


def divided(
    months: Sequence[date], horizon: timedelta, validation_months: int
) -> tuple[list[date], list[date], list[date]]:
    """The months to train on, those left out in between, and the newest to validate on.

    A label of an as_of is known `horizon` after it. At the first as_of of validation, a model could
    only have learned from labels that were known by then.
    """
    ordered = sorted(months)
    judging = ordered[-validation_months:]
    earlier = ordered[: len(ordered) - len(judging)]
    training = [month for month in earlier if month + horizon <= judging[0]]
    return training, [month for month in earlier if month not in training], judging


def split(
    validation: Validation,
    entities: Sequence[str],
    as_ofs: Sequence[date],
    labels: npt.NDArray[np.int64],
    horizon: timedelta,
    random_state: int,
) -> Split:
    """Divide the rows, each given by its entity, its as_of and its label (0 or 1).

    Raises UntrainableData if either part would be without one of the labels.
    """
    if validation.method == "out-of-time":
        found = _out_of_time(validation.months, as_ofs, horizon)
    elif validation.method == "entities":
        found = _by_entity(validation.share, entities, labels, random_state)
    else:
        found = _at_random(validation.share, as_ofs, labels, random_state)
    _require_both_labels(validation, found, labels)
    return found


def _out_of_time(validation_months: int, as_ofs: Sequence[date], horizon: timedelta) -> Split:
    of_rows = days(as_ofs)
    months: list[date] = np.unique(of_rows).tolist()
    training, gap, judging = divided(months, horizon, validation_months)
    if not training:
        raise UntrainableData(
            f"Judging on the newest {validation_months} of {len(months)} month(s) leaves no month "
            f"to train on whose labels were known at {judging[0]} (horizon {horizon}).",
            "Take in more months with `--months`, or judge with `--validation entities`.",
        )
    return Split(
        np.flatnonzero(np.isin(of_rows, days(training))),
        np.flatnonzero(np.isin(of_rows, days(judging))),
        tuple(gap),
    )


def _by_entity(
    share: float, entities: Sequence[str], labels: npt.NDArray[np.int64], random_state: int
) -> Split:
    """Stratified by whether an entity's label was true in any of its months, where some was."""
    from sklearn.model_selection import train_test_split

    count, entity_of_row = numbered(entities)
    ever = np.zeros(count, dtype=np.int64)
    np.maximum.at(ever, entity_of_row, labels)
    _, counts = np.unique(ever, return_counts=True)
    # With too few of either kind, chance alone decides; both labels are asked for afterwards.
    stratified = len(counts) == 2 and _enough(counts.min(), share)
    if not _enough(count, share):
        raise UntrainableData(
            f"{count:,} entities are too few to learn from and to judge by.",
            "Take in more months with `--months`, or load more entities.",
        )
    _, held_out = train_test_split(
        np.arange(count),
        test_size=share,
        stratify=ever if stratified else None,
        random_state=random_state,
    )
    is_held_out = np.zeros(count, dtype=np.bool_)
    is_held_out[held_out] = True
    judging = is_held_out[entity_of_row]
    return Split(np.flatnonzero(~judging), np.flatnonzero(judging))


def _at_random(
    share: float, as_ofs: Sequence[date], labels: npt.NDArray[np.int64], random_state: int
) -> Split:
    from sklearn.model_selection import train_test_split

    _, counts = np.unique(labels, return_counts=True)
    if len(counts) < 2 or not _enough(counts.min(), share):
        positives, months = int(labels.sum()), ", ".join(map(str, np.unique(days(as_ofs))))
        raise UntrainableData(
            f"The training set at {months} has {len(labels):,} rows, {positives:,} of them with "
            f"the label true and {len(labels) - positives:,} with false: too few to learn and to "
            "judge.",
            "Choose an --as-of with more labels, or load them with `streamflow ingest`.",
        )
    training_rows, validation_rows = train_test_split(
        np.arange(len(labels)),
        test_size=share,
        stratify=labels,
        random_state=random_state,
    )
    return Split(training_rows, validation_rows)


def _enough(count: int, share: float) -> bool:
    """Whether so many can be divided by the share with one in either part."""
    return count * min(share, 1 - share) >= 1


def _require_both_labels(
    validation: Validation, split: Split, labels: npt.NDArray[np.int64]
) -> None:
    for rows, purpose in ((split.training_rows, "train on"), (split.validation_rows, "judge by")):
        if len(np.unique(labels[rows])) < 2:
            raise UntrainableData(
                f"All {len(rows):,} rows to {purpose} ({validation.method}) have the same label.",
                "Take in more months with `--months`, or choose another `--validation`.",
            )
