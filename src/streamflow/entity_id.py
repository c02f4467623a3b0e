"""What an entity's id is: one rule for a month's files, files of ids, the API and SQL."""

from __future__ import annotations

import re

LONGEST = 64
RULE = f"1 to {LONGEST} characters, none of them hidden and not all of them spaces"

# As the regular expressions of Python, PostgreSQL, Rust and JavaScript write them.
# Control, format and bidirectional characters, no-break spaces, and letters without a shape.
HIDDEN = (
    r"\u0000-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f"
    r"\u2028-\u202f\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
)
SPACES = r"\u0020\u1680\u2000-\u200a\u205f\u2800\u3000"
PATTERN = rf"^[^{HIDDEN}]*[^{HIDDEN}{SPACES}][^{HIDDEN}]*$"

_ID = re.compile(PATTERN)


def is_id(text: str) -> bool:
    """Whether the text is an id."""
    return len(text) <= LONGEST and _ID.fullmatch(text) is not None
