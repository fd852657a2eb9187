"""An adapter that connects to nothing, and tells where it would have connected to."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from gopacs_session import Environment, GopacsSession

TOKEN_ENDPOINT = "/realms/gopacs/protocol/openid-connect/token"


class Answer(NamedTuple):
    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Sent(NamedTuple):
    """A request, and the scheme and the host of the connection pool that urllib3 has for it."""

    scheme: str
    host: str
    method: str
    url: str
    bears_token: bool


class Tap(HTTPAdapter):
    """Answers token requests with `token_answer` or else a new token, and others as the script says; then with 200.

    Attributes:
        sent: all but the token requests.
        token_requests: how many there were.
    """

    def __init__(self, script: Iterable[Answer] = (), token_answer: Answer | None = None) -> None:
        super().__init__()
        self.sent: list[Sent] = []
        self.token_requests = 0
        self._script, self._token_answer = iter(script), token_answer

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        # What the parent does before it sends; exceptions for URLs that it cannot read included.
        pool = self.get_connection_with_tls_context(request, verify=True)
        if request.method == "POST" and str(request.url).endswith(TOKEN_ENDPOINT):
            self.token_requests += 1
            return self._response(request, self._token_answer or self._new_token())
        host = pool.host.lower().removesuffix(".")
        bears_token = str(request.headers.get("Authorization")).startswith("Bearer token-")
        self.sent.append(Sent(str(pool.scheme), host, str(request.method), str(request.url), bears_token))
        return self._response(request, next(self._script, Answer()))

    def _new_token(self) -> Answer:
        token = {"access_token": f"token-{self.token_requests}", "expires_in": 300, "token_type": "Bearer"}
        return Answer(body=json.dumps(token).encode())

    def _response(self, request: requests.PreparedRequest, answer: Answer) -> requests.Response:
        raw = HTTPResponse(io.BytesIO(answer.body), answer.headers, answer.status, preload_content=False)
        return self.build_response(request, raw)


def tapped(session: requests.Session, tap: Tap) -> requests.Session:
    """`session` without a network and without the user's settings."""
    session.trust_env = False
    session.mount("https://", tap)
    session.mount("http://", tap)
    return session


def outcome(call: Callable[[], Any]) -> type[Exception] | None:
    """What kind of exception a call ended in."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return type(error)
    return None


def client(environment: Environment, tap: Tap) -> GopacsSession:
    session = GopacsSession("client", "the-secret", environment)
    tapped(session, tap)
    return session
