"""In whose name a version is promoted, held against keys in a real PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from tests.statements import execute

from streamflow.errors import AccessRefused
from streamflow.keys import api_keys
from streamflow.keys.api_keys import Scope
from streamflow.platform import Platform
from streamflow.promotion.promoter import promoter

NOW = datetime(2024, 3, 15, 12, tzinfo=UTC)
BEFORE = NOW - timedelta(days=1)


def keyed(ready: Platform, key: str) -> Platform:
    """The platform with `key` in its environment."""
    settings = ready.settings.model_copy(update={"promote_key": SecretStr(key)})
    return replace(ready, settings=settings)


def made(
    ready: Platform, *scopes: Scope, name: str = "", expires_at: datetime | None = None
) -> str:
    key = api_keys.new_key()
    api_keys.create(ready.database, key, scopes, name, expires_at, "ann", BEFORE)
    return key


def audited(ready: Platform) -> list[dict[str, Any]]:
    return execute(ready.database, "TABLE streamflow.audit").fetchall()


def test_without_a_key_it_is_the_operating_systems_user(ready: Platform) -> None:
    assert promoter(ready, "promote", "ann", NOW) == "ann"
    # As Docker Compose hands on a variable that nobody set.
    assert promoter(keyed(ready, ""), "promote", "ann", NOW) == "ann"
    assert audited(ready) == []


def test_with_a_key_that_may_promote_it_is_the_key(ready: Platform) -> None:
    named = made(ready, Scope.PROMOTE, Scope.READ, name="release")
    nameless = made(ready, Scope.PROMOTE, expires_at=NOW + timedelta(days=1))
    assert promoter(keyed(ready, named), "promote", "ann", NOW) == "key 1 (release)"
    assert promoter(keyed(ready, f"{nameless}\n"), "rollback", "ann", NOW) == "key 2"
    assert audited(ready) == []


def test_a_key_that_may_not_promote_is_refused_as_by_the_api_and_audited(ready: Platform) -> None:
    revoked = made(ready, Scope.PROMOTE)
    api_keys.revoke(ready.database, 1, "ann", BEFORE)
    cases = {
        revoked: ("key_revoked", 1),
        made(ready, Scope.PROMOTE, expires_at=NOW): ("key_expired", 2),
        made(ready, Scope.PREDICT, Scope.READ): ("scope_missing", 3),
        api_keys.new_key(): ("key_unknown", None),
        "hunter2": ("key_unknown", None),
    }
    for key, (code, _) in cases.items():
        with pytest.raises(AccessRefused) as refused:
            promoter(keyed(ready, key), "rollback", "ann", NOW)
        assert refused.value.code == code
        assert "streamflow keys" in refused.value.next or "another one" in refused.value.next
        assert key not in str(refused.value)
    lines = audited(ready)
    assert [(line["code"], line["key_id"]) for line in lines] == list(cases.values())
    for line in lines:
        told = line["route"], line["method"], line["client"], line["attempts"]
        assert told == ("streamflow rollback", "command", "ann", 1)
        assert line["first_at"] == line["last_at"] == NOW
        assert not [key for key in cases if key in str(line)]
