"""The hash by which a forgotten id is known again: HMAC-SHA256 with a secret salt (RFC 2104).

Ids come from a small space: whoever knows the salt can try them all. So the salt is as secret as
history itself, and those who only read the tables don't see it.
"""

from __future__ import annotations

import hmac

SALT_BYTES = 32
_BLOCK_BYTES = 64  # of SHA-256


def salted_hash(salt: bytes, entity: str) -> bytes:
    """The hash of an entity's id, 32 bytes."""
    return hmac.digest(salt, entity.encode(), "sha256")


def pads(salt: bytes) -> dict[str, bytes]:
    """The two parts by which SQL computes the same hash with `sha256` alone."""
    padded = salt.ljust(_BLOCK_BYTES, b"\0")
    return {
        "inner": bytes(byte ^ 0x36 for byte in padded),
        "outer": bytes(byte ^ 0x5C for byte in padded),
    }
