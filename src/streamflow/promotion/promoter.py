"""In whose name a version is promoted: a key's, or the operating system's user's.

In a container the user's name says nothing, and a key's does.
"""

from __future__ import annotations

from datetime import datetime

from streamflow.errors import AccessRefused
from streamflow.keys.api_keys import ApiKey, Scope
from streamflow.platform import Platform


def promoter(platform: Platform, command: str, user: str, now: datetime) -> str:
    """`key 3 (release)` if there is a STREAMFLOW_PROMOTE_KEY, which is then held against the
    database as the API would; `user` without one.

    Raises AccessRefused if the key may not promote, which the audit has from then on.
    """
    key = platform.settings.promote_key
    if not key:  # an empty one is none
        return user
    # The API's own, whose libraries take a moment to import.
    from streamflow.keys.access import Access
    from streamflow.keys.audit import Attempt, AuditEntry
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
        attempt = Attempt(refused.code, f"streamflow {command}", "command", user, refused.key_id)
        store.record([AuditEntry(attempt, now, now, 1)])
        raise
    return _named(next(one for one in known if one.key_id == key_id))


def _named(key: ApiKey) -> str:
    return f"key {key.key_id} ({key.name})" if key.name else f"key {key.key_id}"
