"""How a feature is spoken of in a reason for a score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from string import Formatter

from streamflow.use_case.findings import Finding

_EXAMPLE = 'phrases={"failed_payments": "{value} failed payments"}'
_FIELDS = ("value", "usual")


@dataclass(frozen=True)
class Phrase:
    """What is said of a feature, with {value} for the entity's value.

    What is usual follows it, unless {usual} stands in the text: "4 failed payments, usually 0".
    `one`, `true`, `false` and `null` are said of 1 and of these values instead of the text;
    `values` has words for categories, by the category.
    """

    text: str = ""
    one: str | None = None
    true: str | None = None
    false: str | None = None
    null: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)


# By feature; a text alone is a Phrase with that text.
Phrases = Mapping[str, str | Phrase]


def phrase_findings(phrases: object) -> Iterator[Finding]:
    """What is wrong with the phrases themselves; that features exist is seen with them."""
    if not isinstance(phrases, Mapping):
        yield Finding("phrases", "it isn't a mapping from features to phrases", _EXAMPLE)
        return
    for name, phrase in phrases.items():
        where = f"phrase of {name!r}"
        if not isinstance(phrase, str | Phrase):
            yield Finding(where, f"{phrase!r} is neither a text nor a Phrase", _EXAMPLE)
            continue
        made = Phrase(phrase) if isinstance(phrase, str) else phrase
        texts = [made.text, made.one, made.true, made.false, made.null]
        if not any(texts) and not made.values:
            yield Finding(where, "it says nothing", _EXAMPLE)
        if not isinstance(made.values, Mapping):
            yield Finding(
                where,
                "values isn't a mapping from categories to words",
                'Phrase(values={"a": "…"})',
            )
        for text in texts:
            if text is not None and (wrong := _wrong(text)) is not None:
                yield Finding(where, f"{text!r} {wrong}", f'"{name}": "{{value}} …"')


def _wrong(text: object) -> str | None:
    if not isinstance(text, str):
        return "isn't a text"
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        return f"can't be read: {error}"
    for _, name, form, conversion in parts:
        if name is not None and (name not in _FIELDS or form or conversion):
            return "has other fields than {value} and {usual}; a brace of its own is written twice"
    return None
