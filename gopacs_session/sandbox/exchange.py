"""What came to the sandbox, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import responses
from typing import Any, NamedTuple

from requests.structures import CaseInsensitiveDict

Body = bytes | str | Mapping[str, Any] | None


class Headers(CaseInsensitiveDict[str]):
    def masked(self, mask: str = "...") -> dict[str, str]:
        return {name: mask if name.lower() == "authorization" else value for name, value in self.items()}

    def __repr__(self) -> str:
        return repr(self.masked())


@dataclass(frozen=True, eq=False)
class Exchange:
    """One request to the sandbox, and what became of it. Its repr shows nothing that may hold a secret.

    Attributes:
        method (str): ``"POST"`` and the like.
        path (str): as it was sent, without the query.
        query (str): what followed the ``?``, as it was sent.
        headers (Mapping[str, str]): by name in any case; the values of a repeated header are joined with commas.
        body (bytes): freed from any chunking.
        started (float): ``time.monotonic()`` of the request's arrival, in seconds.
        status (int): HTTP status of the answer.
        token_number (int | None): which of the tokens issued, counted from 1, the request obtained or bore.
    """

    method: str
    path: str
    query: str = field(repr=False)
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    started: float
    status: int = 0
    token_number: int | None = None

    @property
    def authorization(self) -> str | None:
        """The ``Authorization`` header."""
        return self.headers.get("Authorization")


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str]
    token: object = None  # that it hands out


def make_answer(status: int, body: Body = None, headers: Mapping[str, str] | None = None) -> Answer:
    if isinstance(body, Mapping):
        text, kind, token = json.dumps(body, separators=(",", ":")), "application/json", body.get("access_token")
        return Answer(status, text.encode(), {"Content-Type": kind, **(headers or {})}, token)
    if isinstance(body, str):
        return Answer(status, body.encode(), {"Content-Type": "text/html;charset=utf-8", **(headers or {})})
    return Answer(status, body or b"", headers or {})


def page(status: int) -> str:
    return f"<!DOCTYPE html><html><body><h1>{status} {responses.get(status, '')}</h1></body></html>"
