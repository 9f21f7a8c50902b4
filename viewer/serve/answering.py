"""How anything is answered: with a strict policy, whole or by range."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, BinaryIO

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})")
_PIECE = 1 << 20


class Answering(BaseHTTPRequestHandler):
    """Pages, JSON, text and ranges of files, each with the headers that keep it here."""

    def _range(self, opening: Callable[[], BinaryIO]) -> None:
        match = _RANGE.fullmatch(self.headers.get("Range") or "")
        if match is None:
            self._text(HTTPStatus.BAD_REQUEST, "ask for one tensor: Range: bytes=first-last")
            return
        first, last = int(match[1]), int(match[2])
        with opening() as stream:
            size = os.fstat(stream.fileno()).st_size
            if not first <= last < size:
                self._text(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"{size} bytes")
                return
            self._head(HTTPStatus.PARTIAL_CONTENT, "application/octet-stream", POLICY)
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.send_header("Content-Length", str(last - first + 1))
            self.end_headers()
            self._stream(stream, first, last - first + 1)

    def _stream(self, stream: BinaryIO, offset: int, left: int) -> None:
        stream.seek(offset)
        while left:
            piece = stream.read(min(left, _PIECE))
            if not piece:
                raise ConnectionAbortedError("the file shrank while it was read")
            self.wfile.write(piece)
            left -= len(piece)

    def _html(self, page: bytes) -> None:
        self._bytes(page, "text/html; charset=utf-8", POLICY)

    def _json(self, value: Any) -> None:
        self._bytes(json.dumps(value, default=str).encode(), "application/json", POLICY)

    def _text(self, status: HTTPStatus, text: str) -> None:
        self.close_connection |= self.command != "GET"  # a body may be left unread
        self._bytes(text.encode(errors="replace"), "text/plain; charset=utf-8", POLICY, status)

    def _bytes(
        self, content: bytes, kind: str, policy: str, status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        self._head(status, kind, policy)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _head(self, status: HTTPStatus, kind: str, policy: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cache-Control", "no-cache")
        if self.close_connection:
            self.send_header("Connection", "close")
        if kind.startswith("text/html"):
            # Netron asks a foreign host for the visitor's country unless consent is known.
            self.send_header("Set-Cookie", "consent=1; Path=/; SameSite=Strict")
