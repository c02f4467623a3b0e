"""Our small client of MLflow's REST API, beside MLflow's own: the same variables, the same headers.

The server is a small one over TLS with a certificate of its own making.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from streamflow.errors import MlflowUnavailable, UnknownVersion
from streamflow.registry import mlflow_rest
from streamflow.registry.mlflow_rest import MlflowServer

ADDRESS = "mlflow/model-versions/search"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a certificate for 127.0.0.1 and its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    ) | {"crl_sign": False, "encipher_only": False, "decipher_only": False}
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True
        )
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


@dataclass
class Server:
    """Answers every GET with `status` and `answer`; `heard` has the headers and the paths."""

    uri: str = ""
    status: int = 200
    answer: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    heard: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def authorization(self) -> str | None:
        return self.heard[-1][1].get("authorization")


@pytest.fixture
def served(certificate: Path) -> Iterator[Callable[..., Server]]:
    """Starts a server, over TLS unless it is told otherwise."""
    running = []

    def start(*, tls: bool = True, client_certificate: bool = False) -> Server:
        state = Server()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                state.heard.append(
                    (self.path, {name.lower(): value for name, value in self.headers.items()})
                )
                answer = state.answer(self.path) if callable(state.answer) else state.answer
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(state.status)
                for name, value in state.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        http = Quiet(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            if client_certificate:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(certificate)
            http.socket = context.wrap_socket(http.socket, server_side=True)
        state.uri = f"http{'s' * tls}://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        running.append((http, thread))
        return state

    yield start
    for http, thread in running:
        http.shutdown()
        thread.join()
        http.server_close()


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("USERNAME", "PASSWORD", "TOKEN", "SERVER_CERT_PATH", "CLIENT_CERT_PATH"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    for name in ("MLFLOW_TRACKING_INSECURE_TLS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def by_mlflow(server: Server) -> int:
    """The status of the same request by MLflow's own client."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    answer = http_request(get_default_host_creds(server.uri), f"/api/2.0/{ADDRESS}", "GET")
    return int(answer.status_code)


CREDENTIALS: dict[str, dict[str, str]] = {
    "none": {},
    "a user": {"USERNAME": "ann", "PASSWORD": "it's: secret"},
    "a user without a password": {"USERNAME": "ann"},
    "a token": {"TOKEN": "abc"},
    "both": {"USERNAME": "ann", "PASSWORD": "secret", "TOKEN": "abc"},
    "a user without a password, and a token": {"USERNAME": "ann", "TOKEN": "abc"},
}


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("given", CREDENTIALS)
def test_credentials_are_sent_as_mlflow_sends_them(
    given: str,
    in_file: bool,
    served: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    server = served(tls=False)
    lines = ["[mlflow]"]
    for name, value in CREDENTIALS[given].items():
        if in_file and name != "TOKEN":
            lines.append(f"mlflow_tracking_{name.lower()} = {value}")
        else:
            monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text("\n".join(lines))
    assert by_mlflow(server) == 200
    expected = server.authorization()
    assert MlflowServer(server.uri).document(ADDRESS) == {}
    assert server.authorization() == expected
    assert (expected is None) == (given in ("none", "a user without a password"))


def test_the_certificate_is_checked_as_the_variables_say(
    served: Callable[..., Server], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = served()
    asked = MlflowServer(server.uri)
    with pytest.raises(MlflowUnavailable, match="isn't trusted") as refused:
        asked.document(ADDRESS)
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in refused.value.next
    # Corrected, the same client works: certificates are replaced while a server runs.
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
    assert asked.document(ADDRESS) == {}
    assert by_mlflow(server) == 200
    monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "True")
    assert MlflowServer(server.uri).document(ADDRESS) == {}


def test_our_own_certificate_is_shown_to_a_server_that_wants_one(
    served: Callable[..., Server], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = served(client_certificate=True)
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
    with pytest.raises(MlflowUnavailable):
        MlflowServer(server.uri).document(ADDRESS)
    monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(certificate))
    assert MlflowServer(server.uri).document(ADDRESS) == {}
    assert by_mlflow(server) == 200


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("MLFLOW_TRACKING_SERVER_CERT_PATH", "No such file"),
        ("MLFLOW_TRACKING_CLIENT_CERT_PATH", "No such file"),
    ],
)
def test_a_certificate_that_isnt_there_is_told(
    variable: str, said: str, served: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/not/there.pem")
    with pytest.raises(MlflowUnavailable, match=said) as refused:
        MlflowServer(served().uri).document(ADDRESS)
    assert variable in refused.value.next


@pytest.mark.parametrize(
    ("status", "answer", "message", "next"),
    [
        (401, b"You are not authenticated", "these credentials", "MLFLOW_TRACKING_TOKEN"),
        (403, b"", "allows too little", "MLFLOW_TRACKING_USERNAME"),
        (500, {"error_code": "INTERNAL_ERROR", "message": "a\nb"}, "status 500: a", "log"),
        (404, b"<html>", "status 404", "STREAMFLOW_MLFLOW_TRACKING_URI"),
        (200, b"<html>Sign in</html>", "isn't JSON", "gateway"),
    ],
)
def test_an_answer_that_isnt_one_is_told_as_what_it_is(
    status: int, answer: Any, message: str, next: str, served: Callable[..., Server]
) -> None:
    server = served(tls=False)
    server.status, server.answer = status, answer
    with pytest.raises(MlflowUnavailable) as refused:
        MlflowServer(server.uri).document(ADDRESS)
    assert message in refused.value.message
    assert "doesn't answer at" not in refused.value.message
    assert next in refused.value.next


def test_a_version_that_is_gone_is_told_as_that(served: Callable[..., Server]) -> None:
    server = served(tls=False)
    server.status = 404
    server.answer = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no version 3"}
    with pytest.raises(UnknownVersion, match="no version 3"):
        MlflowServer(server.uri).document(ADDRESS)


def test_a_list_is_read_to_its_last_page(served: Callable[..., Server]) -> None:
    server = served(tls=False)

    def answer(path: str) -> Any:
        page = int(path.partition("page_token=")[2] or 1)
        more = {"next_page_token": str(page + 1)} if page < 3 else {}
        return {"model_versions": [page], **more}

    server.answer = answer
    assert list(MlflowServer(server.uri).pages(ADDRESS, "model_versions")) == [1, 2, 3]


def test_credentials_follow_a_redirect_on_the_same_host_alone(
    served: Callable[..., Server], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc")
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
    gateway, server, plain = served(tls=False), served(), served(tls=False)
    gateway.status = 302
    for target, expected in ((server.uri, "Bearer abc"), (elsewhere(plain.uri), None)):
        gateway.headers = {"Location": f"{target}/"}
        MlflowServer(gateway.uri).document(ADDRESS)
        assert gateway.authorization() == "Bearer abc"
        assert (server if expected else plain).authorization() == expected


def elsewhere(uri: str) -> str:
    return uri.replace("127.0.0.1", "localhost")


def test_a_password_in_the_uri_is_sent_and_never_shown(served: Callable[..., Server]) -> None:
    server = served(tls=False)
    asked = MlflowServer(server.uri.replace("//", "//ann:se%40cret@"))
    asked.document(ADDRESS)
    assert server.authorization() == "Basic YW5uOnNlQGNyZXQ="
    server.status = 500
    with pytest.raises(MlflowUnavailable) as refused:
        asked.document(ADDRESS)
    assert "cret" not in str(refused.value)


def test_a_file_is_read_no_further_than_it_may_be_large(
    served: Callable[..., Server], tmp_path: Path
) -> None:
    server = served(tls=False)
    server.answer = b"0123456789"
    asked = MlflowServer(server.uri)
    assert asked.save("a", tmp_path / "a", 10) == 10
    assert (tmp_path / "a").read_bytes() == server.answer
    assert asked.save("a", tmp_path / "b", 8) == 9


def test_what_must_be_signed_is_left_to_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not mlflow_rest.needs_mlflow()
    monkeypatch.setenv("MLFLOW_TRACKING_AWS_SIGV4", "true")
    assert mlflow_rest.needs_mlflow()
    monkeypatch.setenv("MLFLOW_TRACKING_AWS_SIGV4", "false")
    monkeypatch.setenv("MLFLOW_TRACKING_AUTH", "kubernetes")
    assert mlflow_rest.needs_mlflow()
