"""How large a request may be, and how long it may take."""

from __future__ import annotations

BATCH_PATH = "/predict/batch"
LARGEST_BODY_BYTES = 64 * 1024
# A thousand ids of 64 characters, each escaped as two \uXXXX.
LARGEST_BATCH_BYTES = 1024 * 1024
# The lines of a request up to its body.
LARGEST_HEAD_BYTES = 64 * 1024
# Until a head has arrived: from the start of its connection, or from its first byte.
HEAD_SECONDS = 10.0
# Until a body has arrived, from the end of its head.
BODY_SECONDS = 30.0
# Until a client that doesn't read its response has begun to.
READING_SECONDS = 30.0


def largest_body(path: str) -> int:
    """The most bytes that the body of a request to `path` may have."""
    return LARGEST_BATCH_BYTES if path == BATCH_PATH else LARGEST_BODY_BYTES
