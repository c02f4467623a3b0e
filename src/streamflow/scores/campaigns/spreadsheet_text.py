"""Text that a spreadsheet takes for text when it opens a CSV file. Pure.

A cell that begins with one of these characters is computed as a formula, whoever wrote it: OWASP,
"CSV injection". An apostrophe before it keeps it text.
"""

from __future__ import annotations

# Also as the wide characters that spreadsheets take for the narrow ones.
_COMPUTED = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_MARK = "'"


def as_plain_text(text: str) -> str:
    """The text, with an apostrophe before it if it would be computed, or begins with one."""
    return _MARK + text if text.startswith((*_COMPUTED, _MARK)) else text


def as_it_was(text: str) -> str:
    """The text without the apostrophe that `as_plain_text` put before it."""
    if text.startswith(_MARK) and text[1:].startswith((*_COMPUTED, _MARK)):
        return text[1:]
    return text
