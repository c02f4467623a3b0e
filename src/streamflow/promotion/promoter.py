"""The name under which a promotion is recorded: an API key's, or the operating system user's.

In a container every user has the same name, so a key identifies the promoter.
"""

from __future__ import annotations

from datetime import datetime

from streamflow.errors import AccessRefused
from streamflow.keys.api_keys import ApiKey, Scope
from streamflow.platform import Platform


def promoter(platform: Platform, command: str, user: str, now: datetime) -> str:
    """`key 3 (release)` if the setting STREAMFLOW_PROMOTE_KEY is there, else `user`.

    The key is checked against the database as the API does it. Raises AccessRefused if it may not
    promote, and records the rejected request in the audit.
    """
    key = platform.settings.promote_key
    if not key:  # an empty setting means no key
        return user
    # Imported here, because their libraries take time to import.
    from streamflow.keys.access import Access
    from streamflow.keys.audit import AuditEntry, RejectedRequest
    from streamflow.keys.key_sync import DatabaseKeyStore

    store = DatabaseKeyStore(platform.database)
    known = store.all_keys()
    access = Access(
        open_without_keys=False,
        requests_per_second=platform.settings.api_key_rate,
        now=lambda: now,
    )
    access.replace_keys(known)
    try:
        key_id = access.authorize(Scope.PROMOTE, b"Bearer " + key.get_secret_value().encode())
    except AccessRefused as refused:
        rejected = RejectedRequest(
            refused.code, f"streamflow {command}", "command", user, refused.key_id
        )
        store.record([AuditEntry(rejected, now, now, 1)])
        raise
    return _key_name(next(one for one in known if one.key_id == key_id))


def _key_name(key: ApiKey) -> str:
    return f"key {key.key_id} ({key.name})" if key.name else f"key {key.key_id}"
