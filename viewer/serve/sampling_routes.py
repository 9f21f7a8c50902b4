"""What a page asks of the sampler: its state, a run, an end, a recording by range."""

from __future__ import annotations

import json
import secrets
from http import HTTPStatus
from typing import Protocol

from viewer.errors import SamplingBusyError, SamplingError
from viewer.numbers import count
from viewer.serve.answering import Answering
from viewer.serve.order import read_order
from viewer.serve.sampling import Sampler

PATIENCE = 20.0
"""Seconds that a page waits for news before it asks again."""
_LONGEST_ORDER = 1 << 18


class _Server(Protocol):
    sampler: Sampler | None


class SamplingRoutes(Answering):
    """Orders need the page's token in a header: no page of another site can send one."""

    def _sampler(self) -> Sampler:
        server: _Server = self.server  # type: ignore[assignment]
        if server.sampler is None:
            raise SamplingError("this viewer does not sample")
        return server.sampler

    def _sample_state(self, seen: str) -> None:
        self._json(self._sampler().state(int(seen), PATIENCE))

    def _sampled(self, number: str) -> None:
        self._range(lambda: self._sampler().open(int(number)))

    def _sample(self, what: str) -> None:
        sampler = self._sampler()
        length = count(self.headers.get("Content-Length") or "")
        token = self.headers.get("X-Atlas-Token") or ""
        known = secrets.compare_digest(token.encode(), sampler.token.encode())
        if not known or length is None or length > _LONGEST_ORDER:
            self._text(HTTPStatus.FORBIDDEN, "no")
            return
        body = self.rfile.read(length)
        try:
            if what == "begin":
                order = read_order(json.loads(body), len(sampler.models))
                self._json({"number": sampler.begin(order)})
                return
        except SamplingBusyError as error:
            self._text(HTTPStatus.CONFLICT, str(error))
            return
        except (SamplingError, ValueError, RecursionError) as error:
            self._text(HTTPStatus.BAD_REQUEST, " ".join(str(error).split())[:300])
            return
        getattr(sampler, what)()
        self._json({})
