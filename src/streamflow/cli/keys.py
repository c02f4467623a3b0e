"""The commands `keys create`, `keys list` and `keys revoke`, for API keys."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.terminal import Json, open_platform, operator, print_result, print_table
from streamflow.cli.times import as_duration

if TYPE_CHECKING:
    from streamflow.keys.api_keys import ApiKey

app = typer.Typer(name="keys", help="API keys: who may use the API.", no_args_is_help=True)

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
        typer.Option(metavar="90d|DATE", help="After that time, or at the end of a day (UTC)."),
    ] = None,
    name: Annotated[str, typer.Option(help="Whose key it is, for the list.")] = "",
    from_environment: Annotated[
        str | None,
        typer.Option(metavar="VARIABLE", help="Use the key in this variable; none is generated."),
    ] = None,
    json: Json = False,
) -> None:
    """Create a key and show it once: only its hash is stored."""
    from streamflow.keys import api_keys

    unknown = [name for name in scope if name not in SCOPES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(SCOPES)}.")
    if from_environment and from_environment not in os.environ:
        raise typer.BadParameter(f"There is no variable {from_environment} in the environment.")
    now = datetime.now(UTC)
    expires_at = _expiry(expires, now) if expires is not None else None
    given = os.environ.get(from_environment, "") if from_environment else None
    key = api_keys.new_key() if given is None else given
    scopes = [api_keys.Scope(name) for name in scope]
    with open_platform() as platform:
        created = api_keys.create(platform.database, key, scopes, name, expires_at, operator(), now)

    def print_text() -> None:
        if given is None:
            print(key)
            print("It isn't shown again. Send it as: Authorization: Bearer KEY")
        print(f"Key {created.key_id} may {_scopes(created)}{_until(created)}.")

    secret = {"key": key} if given is None else {}
    print_result({**_key_json(created), **secret}, json, print_text)


@app.command("list", epilog="Example: streamflow keys list --json")
def list_keys(json: Json = False) -> None:
    """All keys that were ever created, without the keys themselves."""
    from streamflow.keys import api_keys

    with open_platform() as platform:
        keys = api_keys.all_keys(platform.database)
    now = datetime.now(UTC)
    columns = ["key", "name", "may", "made (UTC)", "by", "state"]
    rows = [
        [
            str(one.key_id),
            one.name,
            _scopes(one),
            f"{one.created_at:%Y-%m-%d %H:%M}",
            one.created_by,
            _state(one, now),
        ]
        for one in keys
    ]
    result = [_key_json(one) for one in keys]
    print_result(result, json, lambda: print_table("API keys", columns, rows))


@app.command(epilog="Example: streamflow keys revoke 3")
def revoke(
    key_id: Annotated[int, typer.Argument(metavar="ID", help="See `streamflow keys list`.")],
    json: Json = False,
) -> None:
    """Revoke a key: the API refuses it after a second or two."""
    from streamflow.keys import api_keys

    with open_platform() as platform:
        revoked = api_keys.revoke(platform.database, key_id, operator(), datetime.now(UTC))
    state = _state(revoked, datetime.now(UTC))
    print_result(_key_json(revoked), json, lambda: print(f"Key {key_id}: {state}."))


def _expiry(text: str, now: datetime) -> datetime:
    from streamflow.history.as_of import event_timestamp

    try:
        if (lasts := as_duration(text)) is not None:
            expires_at = now + lasts
        else:
            expires_at = event_timestamp(date.fromisoformat(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no duration like 90d, and no date.") from error
    if expires_at <= now:
        raise typer.BadParameter(f"{text!r} is over already.")
    return expires_at


def _scopes(key: ApiKey) -> str:
    return ", ".join(scope for scope in SCOPES if scope in key.scopes)


def _until(key: ApiKey) -> str:
    return f" until {key.expires_at:%Y-%m-%d %H:%M} (UTC)" if key.expires_at else ""


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at:
        return f"revoked {key.revoked_at:%Y-%m-%d %H:%M} by {key.revoked_by}"
    return f"works{_until(key)}" if key.works(now) else f"expired {key.expires_at:%Y-%m-%d}"


def _key_json(key: ApiKey) -> dict[str, object]:
    """All fields but the hash, which is of no use to a reader."""
    from dataclasses import asdict

    fields = {name: value for name, value in asdict(key).items() if name != "key_hash"}
    return {**fields, "scopes": [scope for scope in SCOPES if scope in key.scopes]}
