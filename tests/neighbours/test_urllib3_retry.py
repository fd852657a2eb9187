"""urllib3's Retry on the session's own adapter or a mounted one: its retries, and the session's, together."""

from __future__ import annotations

import math
import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from servers import TOKEN, Authority, http, raw, reset
from support import unassigned_port
from urllib3.util import Retry

from gopacs_session import AuthorizationServerError, GopacsSession
from gopacs_session.sandbox import Sandbox


def retrying(session: GopacsSession, retry: Retry) -> GopacsSession:
    """The session with a Retry on the adapter that it comes with."""
    adapter: Any = session.get_adapter("https://")
    adapter.max_retries = retry
    return session


def test_retries_and_replay_together(sandbox: Sandbox) -> None:
    """503, 401, 503, 200: the adapter retries each 503, the session replays the 401, and the caller sees the 200."""
    with retrying(sandbox.session(), Retry(1, backoff_factor=0, status_forcelist=[503])) as session:
        for status in (503, 401, 503):
            sandbox.answer_next_api_requests(1, status)
        assert session.get(f"{sandbox.api_url}/participants").status_code == 200
    seen = [(exchange.status, exchange.token_number) for exchange in sandbox.api_requests]
    assert seen == [(503, 1), (401, 1), (503, 2), (200, 2)]


def test_a_post_is_executed_once(sandbox: Sandbox) -> None:
    """A POST with a revoked token is sent twice: the API refused the first, and 503 to the second ends it."""
    with retrying(sandbox.session(), Retry(3, backoff_factor=0, status_forcelist=[503])) as session:
        sandbox.answer_next_api_requests(1, 401)
        sandbox.answer_next_api_requests(1, 503)
        assert session.post(f"{sandbox.api_url}/message", data="<order/>").status_code == 503
    assert [exchange.status for exchange in sandbox.api_requests] == [401, 503]


def requests_sent(directory: Path, method: str, retry: Retry) -> int:
    """How often a request reaches a server that resets the connection instead of its first answer."""
    authority = Authority(directory)
    with authority.server(raw(http(TOKEN, "Connection: close")), reset, raw(http(b"fine"))) as server:
        with GopacsSession("trader", "s3cret", server.environment) as session:
            session.mount("https://localhost", HTTPAdapter(max_retries=retry))
            session.verify = authority.ca_file
            url = server.environment.token_url.replace("/token", "/message")
            with suppress(requests.ConnectionError):
                assert session.request(method, url, data=b"<order/>").text == "fine"
        return sum(b"/message " in request for request in server.requests)


def test_a_connection_lost_before_the_answer(tmp_path: Path) -> None:
    """A GET is sent again; a POST may have been executed, and is sent again only if the user's Retry says so."""
    assert requests_sent(tmp_path, "GET", Retry(3, backoff_factor=0)) == 2
    assert requests_sent(tmp_path, "POST", Retry(3, backoff_factor=0)) == 1
    assert requests_sent(tmp_path, "POST", Retry(3, backoff_factor=0, allowed_methods=None)) == 2


EVERY_METHOD = {"allowed_methods": None}


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize(
    "options, tries, status",
    [({}, 3, 503), (EVERY_METHOD, 3 * 3, None), ({**EVERY_METHOD, "raise_on_status": False}, 3 * 3, 503)],
)
def test_the_token_request_is_the_sessions_own_to_retry(
    sandbox: Sandbox, options: dict[str, Any], tries: int, status: int | None
) -> None:
    """Retry leaves POSTs to the session; with allowed_methods=None the tries multiply, and the error stays typed."""
    with retrying(sandbox.session(), Retry(2, status_forcelist=[503], **options)) as session:
        sandbox.answer_next_token_requests(math.inf, 503)
        with pytest.raises(AuthorizationServerError) as caught:
            session.get(f"{sandbox.api_url}/participants")
    assert caught.value.status_code == status
    assert len(sandbox.token_requests) == tries


@pytest.mark.usefixtures("pauses")
def test_a_connection_that_nobody_accepts(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry connects once more for each of the session's three tries, and the error stays typed."""
    looked_up: list[object] = []
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: looked_up.append(args[0]) or look_up(*args))
    environment = replace(sandbox.environment, token_url=f"https://localhost:{unassigned_port()}/token")
    with (
        retrying(sandbox.session(environment=environment), Retry(2, backoff_factor=0)) as session,
        pytest.raises(AuthorizationServerError, match="refused"),
    ):
        session.get(f"{sandbox.api_url}/participants")
    assert looked_up == ["localhost"] * 9


def test_401_among_the_statuses_to_retry_defeats_the_replay(sandbox: Sandbox) -> None:
    """With 401 in status_forcelist the adapter repeats the dead token, and the session never sees the 401."""
    with retrying(sandbox.session(), Retry(2, backoff_factor=0, status_forcelist=[401])) as session:
        session.get(f"{sandbox.api_url}/warm")
        sandbox.revoke_tokens()
        with pytest.raises(requests.exceptions.RetryError):
            session.get(f"{sandbox.api_url}/participants")
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1] * 4
    assert len(sandbox.token_requests) == 1
