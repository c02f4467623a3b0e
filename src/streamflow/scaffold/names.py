"""Names that code and SQL can have, from whatever stands in a file."""

from __future__ import annotations

import re
import unicodedata

from streamflow.history.column_findings import as_name

_LETTERS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "o"})


def plain_name(text: str) -> str:
    """Small ASCII letters, digits and underscores: `Kündigung (EUR)` is `kuendigung_eur`."""
    folded = unicodedata.normalize("NFC", text).casefold().translate(_LETTERS)
    ascii_only = unicodedata.normalize("NFKD", folded).encode("ascii", "ignore").decode()
    # CustomerID is customer_id.
    if not text.isupper():
        parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
        if parted != text and text.isascii():
            ascii_only = parted.lower()
    return as_name(ascii_only)[:50].strip("_")
