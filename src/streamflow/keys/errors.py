"""Why a key, or a request without one, is refused."""

from __future__ import annotations

from streamflow.errors import AccessRefused
from streamflow.keys.api_keys import Scope

_NEW_KEY = "Have one made: `streamflow keys create --scope {}`."


class KeyMissing(AccessRefused):
    """A scope is needed, and no key was sent."""

    def __init__(self, needed: Scope) -> None:
        super().__init__(
            f"This needs a key with the scope {needed.value!r}, "
            "sent as `Authorization: Bearer KEY`.",
            _NEW_KEY.format(needed.value),
        )


class HostUnknown(AccessRefused):
    """A request without a key named the API by a host that isn't this machine."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"Without API keys, requests to the host {host[:64]!r} aren't answered: a page in a "
            "browser here could have sent it.",
            "Ask http://localhost or http://127.0.0.1; or add the name to "
            "STREAMFLOW_API_HOST_NAMES; or make a key: `streamflow keys create --scope predict`.",
        )


class KeyUnknown(AccessRefused):
    """The key was never created."""

    def __init__(self) -> None:
        super().__init__(
            "Nobody was given this key.", "See that it is sent whole; or have another one made."
        )


class KeyRevoked(AccessRefused):
    """The key was revoked."""

    def __init__(self, key_id: int) -> None:
        self.key_id = key_id
        super().__init__(f"Key {key_id} was revoked.", "Have another one made.")


class KeyExpired(AccessRefused):
    """The key's time is over."""

    def __init__(self, key_id: int) -> None:
        self.key_id = key_id
        super().__init__(f"Key {key_id} has expired.", "Have another one made.")


class KeyInQuery(AccessRefused):
    """A key was sent in the address, which proxies and logs keep."""

    def __init__(self, key_id: int | None) -> None:
        self.key_id = key_id
        super().__init__(
            "A key in an address isn't secret: proxies, browsers and logs write addresses down.",
            "Send it as `Authorization: Bearer KEY`, and a new one: `streamflow keys revoke` ends "
            "what was sent.",
        )


class ScopeMissing(AccessRefused):
    """The key is valid for other scopes than the one that is needed."""

    def __init__(self, key_id: int, needed: Scope) -> None:
        self.key_id = key_id
        self.needed = needed
        super().__init__(
            f"Key {key_id} hasn't the scope {needed.value!r}.", _NEW_KEY.format(needed.value)
        )


class RateLimited(AccessRefused):
    """The key has used up its requests; the next one is allowed in `wait_seconds`."""

    def __init__(self, key_id: int, wait_seconds: float) -> None:
        self.key_id = key_id
        self.wait_seconds = wait_seconds
        super().__init__(
            f"Key {key_id} asks more often than it may.",
            "Ask again in a moment, or for up to 1,000 ids at once; "
            "STREAMFLOW_API_KEY_RATE is how often.",
        )
