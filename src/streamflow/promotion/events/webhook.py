"""A webhook: an event is sent to it by POST, signed as the Standard Webhooks specification says.

The headers are `webhook-id`, `webhook-timestamp` (seconds since 1970) and `webhook-signature`:
`v1,` and the Base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`. The API's image has no other HTTP
client than Python's own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from streamflow.errors import InvalidSettings
from streamflow.settings import Settings

TIMEOUT_SECONDS = 10.0
_SECRET_PREFIX = "whsec_"


@dataclass(frozen=True)
class Attempt:
    """What came of sending an event; `status` is of the HTTP response, if there was one."""

    delivered: bool
    status: int | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Webhook:
    """Where events are sent to. An answer that takes longer than `timeout_seconds` is none."""

    url: str
    secret: bytes
    timeout_seconds: float = TIMEOUT_SECONDS

    def send(self, event_id: str, payload: Mapping[str, Any], now: datetime) -> Attempt:
        """Send the event; it is delivered if the response's status is 2xx."""
        body = json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()
        found: list[Attempt] = []
        headers = {
            "content-type": "application/json",
            "user-agent": "StreamFlow",
            **signed(event_id, body, self.secret, now),
        }
        # The client's own limits are for each read: a response that trickles would go on.
        sending = threading.Thread(
            target=lambda: found.append(self._post(body, headers)), daemon=True
        )
        sending.start()
        sending.join(self.timeout_seconds + 1)
        return found[0] if found else Attempt(False, None, "it doesn't answer in time")

    def _post(self, body: bytes, headers: Mapping[str, str]) -> Attempt:
        try:
            request = urllib.request.Request(self.url, body, dict(headers), method="POST")
            with _opener().open(request, timeout=self.timeout_seconds) as response:
                status = int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return Attempt(False, error.code, f"it answers {error.code}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            return Attempt(False, None, f"{type(error).__name__}: {reason}"[:200])
        if 200 <= status < 300:
            return Attempt(True, status)
        return Attempt(False, status, f"it answers {status}")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other that isn't 2xx: what is signed goes nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirects)


def signed(event_id: str, body: bytes, secret: bytes, now: datetime) -> dict[str, str]:
    """The headers that prove who sent the body, and when."""
    timestamp = str(int(now.timestamp()))
    content = b".".join((event_id.encode(), timestamp.encode(), body))
    digest = hmac.new(secret, content, hashlib.sha256).digest()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def webhook(settings: Settings) -> Webhook | None:
    """The webhook of the settings; None without one. Raises InvalidSettings."""
    if settings.webhook_url is None or settings.webhook_secret is None:
        return None
    return Webhook(
        settings.webhook_url.get_secret_value(), _key(settings.webhook_secret.get_secret_value())
    )


def _key(secret: str) -> bytes:
    """The bytes of a secret: as they are, or Base64 after `whsec_`, as the specification says."""
    if not secret.startswith(_SECRET_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise InvalidSettings(
            "STREAMFLOW_WEBHOOK_SECRET begins with whsec_, and isn't Base64 after that.",
            "Correct it, or set another text.",
        ) from error
