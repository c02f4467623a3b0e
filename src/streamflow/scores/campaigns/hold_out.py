"""Who of a list is left alone, so that what a campaign brings can be measured. Pure."""

from __future__ import annotations

import hashlib


def is_held_out(entity: str, salt: str, share: float) -> bool:
    """Whether the entity is among the `share` (0 to 1) of all that are left alone.

    It is drawn by a hash: the same entity and salt give the same answer for ever, on any list;
    another salt draws independently. Who is held out at a share is so at each larger one too.
    """
    # The length keeps salt and entity apart.
    text = f"hold-out {len(salt)} {salt} {entity}"
    drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    return drawn < share * 2**64


def salt_of(use_case: str, campaign: str) -> str:
    """The salt of a campaign: campaigns with another name draw another hold-out."""
    return f"{len(use_case)} {use_case} {campaign}"
