"""The commands about API keys: `keys create`, `keys list`, `keys revoke`."""

from __future__ import annotations

import os
import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import typer

from streamflow.cli.terminal import Json, opened, operator, show, table

app = typer.Typer(name="keys", help="Who may ask the API.", no_args_is_help=True)

SCOPES = ("predict", "read", "promote")


@app.command(epilog="Example: streamflow keys create --scope predict --scope read --expires 90d")
def create(
    scope: Annotated[
        list[str],
        typer.Option(
            help="predict: /predict and /predict/batch; read: /features and /metrics; promote: "
            "`streamflow promote` and `rollback`, with STREAMFLOW_PROMOTE_KEY. May be given "
            "several times."
        ),
    ],
    expires: Annotated[
        str | None,
        typer.Option(metavar="90d|DATE", help="After so many days, or at the end of a day (UTC)."),
    ] = None,
    name: Annotated[str, typer.Option(help="Whose it is, for those who read the list.")] = "",
    from_environment: Annotated[
        str | None,
        typer.Option(
            metavar="VARIABLE", help="Take the key that is in this variable; none is drawn."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Make a key, and show it: this once, as only its hash is kept."""
    from streamflow.keys import api_keys

    unknown = [one for one in scope if one not in SCOPES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(SCOPES)}.")
    now = datetime.now(UTC)
    expires_at = _expiry(expires, now) if expires is not None else None
    given = os.environ.get(from_environment, "") if from_environment else None
    key = api_keys.new_key() if given is None else given
    scopes = [api_keys.Scope(one) for one in scope]
    with opened() as platform:
        made = api_keys.create(platform.database, key, scopes, name, expires_at, operator(), now)

    def lines() -> None:
        if given is None:
            print(key)
            print("It isn't shown again. Send it as: Authorization: Bearer KEY")
        print(f"Key {made.key_id} may {_listed(made)}{_until(made)}.")

    drawn = {"key": key} if given is None else {}
    show({**_told(made), **drawn}, json, lines)


@app.command("list", epilog="Example: streamflow keys list --json")
def list_keys(json: Json = False) -> None:
    """All keys that were ever made, without the keys themselves."""
    from streamflow.keys import api_keys

    with opened() as platform:
        known = api_keys.all_keys(platform.database)
    now = datetime.now(UTC)
    columns = ["key", "name", "may", "made (UTC)", "by", "state"]
    rows = [
        [
            str(one.key_id),
            one.name,
            _listed(one),
            f"{one.created_at:%Y-%m-%d %H:%M}",
            one.created_by,
            _state(one, now),
        ]
        for one in known
    ]
    show([_told(one) for one in known], json, lambda: table("API keys", columns, rows))


@app.command(epilog="Example: streamflow keys revoke 3")
def revoke(
    key_id: Annotated[int, typer.Argument(metavar="ID", help="See `streamflow keys list`.")],
    json: Json = False,
) -> None:
    """Let a key in no more, from a second or two on."""
    from streamflow.keys import api_keys

    with opened() as platform:
        done = api_keys.revoke(platform.database, key_id, operator(), datetime.now(UTC))
    show(_told(done), json, lambda: print(f"Key {key_id}: {_state(done, datetime.now(UTC))}."))


def _expiry(text: str, now: datetime) -> datetime:
    from streamflow.history.as_of import event_timestamp

    try:
        if days := re.fullmatch(r"(\d{1,5})d", text):
            expires_at = now + timedelta(days=int(days[1]))
        else:
            expires_at = event_timestamp(date.fromisoformat(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither days like 90d nor a date.") from error
    if expires_at <= now:
        raise typer.BadParameter(f"{text!r} is over already.")
    return expires_at


def _listed(key: Any) -> str:
    return ", ".join(scope for scope in SCOPES if scope in key.scopes)


def _until(key: Any) -> str:
    return f" until {key.expires_at:%Y-%m-%d %H:%M} (UTC)" if key.expires_at else ""


def _state(key: Any, now: datetime) -> str:
    if key.revoked_at:
        return f"revoked {key.revoked_at:%Y-%m-%d %H:%M} by {key.revoked_by}"
    return f"works{_until(key)}" if key.works(now) else f"expired {key.expires_at:%Y-%m-%d}"


def _told(key: Any) -> dict[str, Any]:
    """All but the hash, which is nobody's business."""
    from dataclasses import asdict

    facts = {name: value for name, value in asdict(key).items() if name != "key_hash"}
    return {**facts, "scopes": [scope for scope in SCOPES if scope in key.scopes]}
