"""Which values of a label mean yes, which no, and which that it isn't known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from streamflow.errors import InvalidSettings
from streamflow.history.values import checked
from streamflow.scaffold.profile import Profile
from streamflow.scaffold.words import NO, WELL, YES, looked_for, not_known
from streamflow.use_case.label import LabelValue

Answers = tuple[tuple[LabelValue, ...], tuple[LabelValue, ...]]


def with_answers(table: Profile, label: str, told: Sequence[str]) -> tuple[Profile, Answers]:
    """The table, whose label is null where it isn't known; and the values of the label that mean
    yes, and those that mean no. `told` are the texts that mean yes, if they were told.

    Raises InvalidSettings if a text that was told isn't there, or which mean yes can't be told.
    """
    table = _without_not_known(table, label)
    column, read = table.column(label), table.raw.read_of(label)
    values, _ = checked(table.raw.rows[label].combine_chunks(), column.kind, read)
    counts = {one["values"]: one["counts"] for one in values.drop_null().value_counts().to_pylist()}
    if column.kind == "boolean":
        meant = [text in read.true for text in _of_boolean(told, read.true, read.false, label)]
        yes = (True,) if not meant or all(meant) else (False,)
        return table, (yes, tuple(one for one in (False, True) if one not in yes))
    by_text = {re.sub(r"\.0+$", "", str(one)): one for one in counts}
    if strange := [one for one in told if one not in by_text]:
        raise _no_value(strange[0], label, by_text)
    texts = [*told] or _positive(label, {text: counts[one] for text, one in by_text.items()})
    positive = tuple(by_text[one] for one in texts)
    negative = tuple(sorted(one for one in counts if one not in positive))
    if not negative:
        raise InvalidSettings(
            f"All values of the label {label!r} mean yes by --positive.", "Leave one out."
        )
    return table, (positive, negative)


def _of_boolean(
    told: Sequence[str], true: Sequence[str], false: Sequence[str], label: str
) -> Sequence[str]:
    if strange := [one for one in told if one not in (*true, *false)]:
        raise _no_value(strange[0], label, [*true, *false])
    return told


def _no_value(text: str, label: str, there: Sequence[str] | Mapping[str, object]) -> Exception:
    return InvalidSettings(
        f"{text!r} isn't a value of {label!r}.",
        f"Say some of: --positive {','.join(sorted(there))}.",
    )


def _without_not_known(table: Profile, label: str) -> Profile:
    """The table, with the texts that say that there is no answer as nulls of the label alone."""
    column = table.column(label)
    unknown = [one for one in column.categories if not_known(one)]
    if not unknown:
        return table
    read = table.raw.read_of(label)
    read = replace(read, null=(*read.null, *unknown))
    raw = replace(table.raw, read_columns={**table.raw.read_columns, label: read})
    values, _ = checked(raw.rows[label].combine_chunks(), column.kind, read)
    known = tuple(one for one in column.categories if one not in unknown)
    changed = replace(column, nulls=values.null_count, distinct=len(known), categories=known)
    columns = tuple(changed if one.name == label else one for one in table.columns)
    return replace(table, raw=raw, columns=columns)


def _positive(label: str, counts: Mapping[str, int]) -> list[str]:
    """Of the texts with their numbers of rows, those that mean yes: the one that says so or that
    isn't the one which says no; those that are called like what is looked for; or, of two, the
    rarer one. Raises InvalidSettings for others."""
    texts = sorted(counts, key=lambda text: (counts[text], text))
    says_yes = [one for one in texts if one.strip().casefold() in YES]
    if "1" in texts and not {*texts} & {"0", "-1"}:  # 1 and 2 are codes
        says_yes.remove("1")
    others = [one for one in texts if one.strip().casefold() not in (*NO, *WELL)]
    called = [one for one in texts if looked_for(one)]
    if len(says_yes) == 1 and len(texts) == 2:
        return says_yes
    if 0 < len(called) < len(texts):
        return called
    if len(texts) == 2:
        return others if len(others) == 1 else texts[:1]
    raise InvalidSettings(
        f"Which values of the label {label!r} mean yes can't be told: it has "
        f"{', '.join(f'{one!r} ({counts[one]:,} rows)' for one in reversed(texts))}.",
        f"Say them: --positive {texts[0]}, or several with commas.",
    )
