"""MLflow's REST API without MLflow: the same environment variables, for the few reads of serving.

MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or `~/.mlflow/credentials`),
MLFLOW_TRACKING_TOKEN, MLFLOW_TRACKING_SERVER_CERT_PATH, MLFLOW_TRACKING_CLIENT_CERT_PATH,
MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_WORKSPACE mean what they mean to MLflow's own client.
"""

from __future__ import annotations

import base64
import configparser
import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit, urlunsplit

from streamflow.errors import MlflowUnavailable, UnknownVersion

_TIMEOUT_SECONDS = 10
_CHUNK_BYTES = 1 << 20
# A page of 1,000 versions takes less than one megabyte.
_MAX_DOCUMENT_BYTES = 64 << 20
_AUTHORITIES = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_START = (
    "See `streamflow status`; start it with `streamflow up`, or correct "
    "STREAMFLOW_MLFLOW_TRACKING_URI."
)


def needs_mlflow() -> bool:
    """Whether requests must be signed in a way that only MLflow's own client knows."""
    return bool(os.environ.get("MLFLOW_TRACKING_AUTH")) or _flag("MLFLOW_TRACKING_AWS_SIGV4")


class MlflowServer:
    """An MLflow server, named by its URI. Every method raises MlflowUnavailable."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri.rstrip("/"))
        # What is before the @ is a password, and no message may show it.
        self.uri = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        self._user = (
            f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            if parts.username is not None
            else None
        )
        self._opener: urllib.request.OpenerDirector | None = None

    @property
    def host(self) -> str:
        """The host and port of the server."""
        return urlsplit(self.uri).netloc

    def document(self, address: str, **parameters: str) -> Any:
        """The JSON document at the address below `/api/2.0`. Raises UnknownVersion for a 404."""
        content = b"".join(self._chunks(address, parameters, _MAX_DOCUMENT_BYTES))
        try:
            return json.loads(content)
        except ValueError as error:
            raise MlflowUnavailable(
                f"{self.uri} doesn't answer as MLflow does: {content[:60]!r} isn't JSON.",
                "Correct STREAMFLOW_MLFLOW_TRACKING_URI; a gateway may want to be signed in to.",
            ) from error

    def pages(self, address: str, field: str, **parameters: str) -> Iterator[Any]:
        """The items of `field` of every page of a list."""
        while True:
            page = self.document(address, **parameters)
            yield from page.get(field, [])
            if not (token := page.get("next_page_token")):
                return
            parameters["page_token"] = token

    def save(self, address: str, file: Path, max_bytes: int) -> int:
        """Write what is at the address into `file`; the number of its bytes.

        It ends after `max_bytes` and one more, so that a caller notices that there are more.
        """
        written = 0
        with file.open("xb") as output:
            for chunk in self._chunks(address, {}, max_bytes + 1):
                written += output.write(chunk)
        return written

    def _chunks(self, address: str, parameters: dict[str, str], at_most: int) -> Iterator[bytes]:
        query = f"?{urlencode(parameters)}" if parameters else ""
        try:
            request = urllib.request.Request(f"{self.uri}/api/2.0/{address}{query}")
            for name, value in _headers(self._user).items():
                # Not sent to another host that the server may redirect to.
                request.add_unredirected_header(name, value)
            if self._opener is None:
                self._opener = _opener()
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
                while at_most > 0 and (chunk := response.read(min(_CHUNK_BYTES, at_most))):
                    at_most -= len(chunk)
                    yield chunk
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._opener = None  # certificates may be replaced meanwhile
            raise _problem(self.uri, error) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """A redirect on the same host, to TLS for example, takes the credentials along."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        followed = super().redirect_request(req, fp, code, msg, headers, newurl)
        if followed is not None:
            before, after = urlsplit(req.full_url), urlsplit(newurl)
            if before.hostname == after.hostname and after.scheme in (before.scheme, "https"):
                followed.unredirected_hdrs.update(req.unredirected_hdrs)
        return followed


def _opener() -> urllib.request.OpenerDirector:
    try:
        context = _tls_context()
    except (OSError, ValueError) as error:
        raise MlflowUnavailable(
            f"A certificate for MLflow can't be used: {error}.",
            "Correct MLFLOW_TRACKING_SERVER_CERT_PATH, MLFLOW_TRACKING_CLIENT_CERT_PATH or "
            "MLFLOW_TRACKING_INSECURE_TLS.",
        ) from error
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _Redirects())


def _tls_context() -> ssl.SSLContext:
    authorities = next((path for name in _AUTHORITIES if (path := os.environ.get(name))), None)
    insecure = _flag("MLFLOW_TRACKING_INSECURE_TLS")
    if insecure and os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"):
        raise ValueError(
            "MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH are both set"
        )
    if authorities is None or insecure:
        context = ssl.create_default_context()
    elif Path(authorities).is_dir():
        context = ssl.create_default_context(capath=authorities)
    else:
        context = ssl.create_default_context(cafile=authorities)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if own := os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"):
        context.load_cert_chain(own)
    return context


def _headers(user: str | None) -> dict[str, str]:
    headers = {}
    if user is None:
        name, password = (
            os.environ.get(f"MLFLOW_TRACKING_{what}") or _stored_credential(what)
            for what in ("USERNAME", "PASSWORD")
        )
        user = f"{name}:{password}" if name and password else None
    if user is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    elif token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    if workspace := os.environ.get("MLFLOW_WORKSPACE", "").strip():
        headers["X-MLFLOW-WORKSPACE"] = workspace
    return headers


def _stored_credential(what: str) -> str | None:
    """The credential in the file that `mlflow` keeps in the home of the account."""
    stored = configparser.ConfigParser(interpolation=None)
    try:
        stored.read(Path("~/.mlflow/credentials").expanduser(), encoding="utf-8")
        return stored.get("mlflow", f"mlflow_tracking_{what.lower()}", fallback=None)
    except (configparser.Error, OSError, RuntimeError):
        return None


def _flag(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("true", "1")


def _problem(uri: str, error: Exception) -> MlflowUnavailable | UnknownVersion:
    if isinstance(error, urllib.error.HTTPError):
        return _answer(uri, error)
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return MlflowUnavailable(
            f"The certificate of {uri} isn't trusted: {reason.verify_message}.",
            "Set MLFLOW_TRACKING_SERVER_CERT_PATH to the file of its authority's certificate.",
        )
    if isinstance(reason, ssl.SSLError | ValueError):
        return MlflowUnavailable(
            f"MLflow at {uri} can't be reached: {reason}.",
            "Correct STREAMFLOW_MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_CLIENT_CERT_PATH.",
        )
    return MlflowUnavailable(f"MLflow doesn't answer at {uri}: {error}.", _START)


def _answer(uri: str, error: urllib.error.HTTPError) -> MlflowUnavailable | UnknownVersion:
    if error.code in (401, 403):
        says = "knows no user by" if error.code == 401 else "allows too little with"
        return MlflowUnavailable(
            f"MLflow at {uri} {says} these credentials (status {error.code}).",
            "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, "
            "to those of a user who may read the model.",
        )
    try:
        with error:
            document = json.loads(error.read(_CHUNK_BYTES))
        code, message = str(document["error_code"]), str(document["message"]).splitlines()[0]
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        code, message = "", str(error.reason)
    if code == "RESOURCE_DOES_NOT_EXIST":
        return UnknownVersion(
            f"MLflow at {uri} has no such version any more: {message[:300]}.",
            "See `streamflow models`.",
        )
    return MlflowUnavailable(
        f"MLflow at {uri} answers with status {error.code}: {message[:300]}.",
        "Look into the server's log, or correct STREAMFLOW_MLFLOW_TRACKING_URI.",
    )
