"""Reasons in words, as the use case phrases them."""

from __future__ import annotations

import math

from streamflow.reasons.usual import FeatureValue
from streamflow.training.served_model import Feature
from streamflow.use_case.phrases import Phrase


def sentence(
    feature: Feature,
    value: FeatureValue,
    usual: FeatureValue,
    phrase: str | Phrase | None,
    lowers: bool,
) -> str:
    """A reason in words: the entity's value, what is usual, and whether it lowers the score.

    Without a phrase, or where the phrase has no words for this value, the feature's name is used.
    """
    made = Phrase(phrase) if isinstance(phrase, str) else phrase or Phrase()
    own, others = _words(value, made), _words(usual, made)
    text = _whole(value, made)
    if text is None:
        text = made.text or f"{_name(feature)}: {{value}}"
    said = text.format(value=own, usual=others)
    if "{usual}" not in text:
        if own == others:
            said += ", as usual"
        elif feature.type in ("BOOL", "STRING") or usual is None:
            said += f", most often {_whole(usual, made) or others}"
        else:
            said += f", usually {others}"
    return f"{said} (lowers the score)" if lowers else said


def _name(feature: Feature) -> str:
    """Its name in words, for a text with fields."""
    return feature.name.replace("_", " ").replace("{", "{{").replace("}", "}}")


def _whole(value: FeatureValue, phrase: Phrase) -> str | None:
    """What the phrase says of this very value, instead of its text."""
    if value is None or value != value:
        return phrase.null
    if isinstance(value, bool):
        return phrase.true if value else phrase.false
    return phrase.one if value == 1 else None


def _words(value: FeatureValue, phrase: Phrase) -> str:
    if value is None or value != value:
        return phrase.null or "no value"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return phrase.values.get(value, value)
    return number(value)


def number(value: float) -> str:
    """A number as people write it: whole numbers whole, others with four digits that matter,
    thousands apart."""
    if isinstance(value, int) or not math.isfinite(value) or float(value).is_integer():
        return f"{value:,.0f}"
    digits = 3 - math.floor(math.log10(abs(value)))
    text = f"{value:,.{min(max(digits, 0), 12)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
