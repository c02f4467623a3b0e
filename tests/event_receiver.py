"""A receiver of events, over HTTP, that checks their signatures."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = b"a secret"


class Receiver:
    """`mode` is what it does with events; `got` has those that it has taken, with their ids."""

    def __init__(self) -> None:
        self.mode = "works"
        self.got: list[dict[str, Any]] = []
        self.badly_signed = 0
        self.hanging = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if receiver.mode == "hangs":
                    receiver.hanging.wait(5)
                    return
                if receiver.mode == "loses the answer":
                    receiver.take(self.headers, body)
                    self.close_connection = True
                    return
                if receiver.mode == "works":
                    receiver.take(self.headers, body)
                self.send_response(200 if receiver.mode == "works" else 500)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/events"

    def take(self, headers: Any, body: bytes) -> None:
        content = b".".join(
            [headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body]
        )
        kind, _, signature = headers["webhook-signature"].partition(",")
        expected = hmac.new(SECRET, content, hashlib.sha256).digest()
        if kind != "v1" or not hmac.compare_digest(b64decode(signature), expected):
            self.badly_signed += 1
            return
        self.got.append({"id": headers["webhook-id"], **json.loads(body)})


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens while the block runs."""
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.hanging.set()
        made.server.shutdown()
        made.server.server_close()
