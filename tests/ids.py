"""Texts that are ids, and texts that aren't: one verdict from files, the API and SQL."""

from __future__ import annotations

from hypothesis import strategies as st

IDS = (
    "a",
    "x" * 64,
    "007",
    "a b",
    " a ",
    "René",
    "Rene\u0301",
    "山田\u3000太郎",
    "\ue000",
    "😀",
    "a/b",
)
NO_IDS = (
    *("", "   ", "\u3000", "\u2003", "\u2800", "x" * 65, "😀" * 65),
    *("\t", "a\n", "\na", "a\r\nb", "a\x07", "a\x7f", "a\u0085"),
    *(
        "a\u00a0",
        "a\u200b",
        "\u200d",
        "a\u202eb",
        "\ufeffa",
        "a\u00ad",
        "a\u2028b",
        "\u3164",
        "a\u2066",
    ),
)

# No NUL, which PostgreSQL's text can't have and which is refused as a value, and no surrogates.
texts = st.text(
    st.sampled_from("ab \t\n\u00a0\u200b\u202e\u3000\u0301é")
    | st.characters(codec="utf-8", exclude_characters="\0"),
    max_size=70,
) | st.sampled_from((*IDS, *NO_IDS))
