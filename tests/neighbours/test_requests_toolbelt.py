"""requests-toolbelt: uploads, a base URL, and dumps."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from requests_toolbelt import MultipartEncoder, MultipartEncoderMonitor, StreamingIterator, sessions
from requests_toolbelt.utils.dump import dump_all

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Sandbox

FILE = b"<portfolio/>" * 20_000


def encoder() -> MultipartEncoder:
    return MultipartEncoder({"desk": "north", "portfolio": ("portfolio.xml", io.BytesIO(FILE), "text/xml")})


@pytest.mark.parametrize(
    "stream",
    [encoder, lambda: MultipartEncoderMonitor(encoder()), lambda: StreamingIterator(len(FILE), iter([FILE]))],
    ids=["MultipartEncoder", "MultipartEncoderMonitor", "StreamingIterator"],
)
def test_a_stream_is_not_replayed(sandbox: Sandbox, revoked: GopacsSession, stream: Callable[[], Any]) -> None:
    """Its streams can't be rewound: the caller gets the 401, and sends a new stream with the next token."""
    answers = [revoked.post(f"{sandbox.api_url}/upload", data=stream()) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [401, 200]
    first, second = (exchange.body for exchange in sandbox.api_requests)
    assert len(first) == len(second) >= len(FILE)


def test_an_encoder_read_into_memory_is_replayed(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """to_string() makes bytes of it, which the session can send twice."""
    data = encoder()
    headers = {"Content-Type": data.content_type}
    assert revoked.post(f"{sandbox.api_url}/upload", data=data.to_string(), headers=headers).status_code == 200
    first, second = sandbox.api_requests
    assert first.body == second.body
    assert FILE in first.body


class BaseUrlGopacsSession(sessions.BaseUrlSession, GopacsSession):
    """A session for one API. BaseUrlSession's own __init__ would pass nothing on."""

    def __init__(self, base_url: str, *args: Any, **options: Any) -> None:
        self.base_url = base_url
        GopacsSession.__init__(self, *args, **options)


def test_a_base_url(sandbox: Sandbox) -> None:
    """Paths are joined to the base, in a replay as well; token requests are not."""
    base = f"{sandbox.api_url}/v3/"
    with BaseUrlGopacsSession(base, sandbox.client_id, sandbox.client_secret, sandbox.environment) as session:
        sandbox.trust(session)
        session.get("participants/DSO")
        sandbox.revoke_tokens()
        session.get("participants/AGR")
    paths = [exchange.path for exchange in sandbox.api_requests]
    assert paths == ["/v3/participants/DSO", "/v3/participants/AGR", "/v3/participants/AGR"]
    assert [exchange.status for exchange in sandbox.token_requests] == [200, 200]


def test_a_dump_shows_the_token(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """dump_all prints a refused request and its replay, with the token: it is not for logs."""
    dump = dump_all(revoked.get(f"{sandbox.api_url}/participants")).decode()
    assert dump.index("HTTP/1.1 401") < dump.index("HTTP/1.1 200")
    assert f"Bearer {revoked.access_token}" in dump
    assert sandbox.client_secret not in dump
