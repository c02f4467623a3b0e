"""How large a request may be."""

from __future__ import annotations

BATCH_PATH = "/predict/batch"
LARGEST_BODY_BYTES = 64 * 1024
# A thousand ids of 64 characters, each escaped as two \uXXXX.
LARGEST_BATCH_BYTES = 1024 * 1024
# The lines of a request up to its body.
LARGEST_HEAD_BYTES = 64 * 1024


def largest_body(path: str) -> int:
    """The most bytes that the body of a request to `path` may have."""
    return LARGEST_BATCH_BYTES if path == BATCH_PATH else LARGEST_BODY_BYTES
