"""httpx: 15 lines of httpx.Auth lend it the token, renew it, and mend its refusals."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Generator

import httpx
import pytest
from support import at_once

from gopacs_session import GopacsAuth, GopacsSession
from gopacs_session.sandbox import Sandbox


class TokenOf(httpx.Auth):
    def __init__(self, gopacs: GopacsAuth | GopacsSession) -> None:
        self.gopacs = gopacs

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if not self.gopacs.environment.covers(str(request.url)):
            yield request
            return
        request.headers.update(self.gopacs.auth_header)
        response = yield request
        if response.status_code == 401:
            self.gopacs.fetch_token(refused=request.headers["Authorization"])
            request.headers.update(self.gopacs.auth_header)
            yield request


@pytest.fixture
def auth(sandbox: Sandbox) -> TokenOf:
    return TokenOf(GopacsAuth(sandbox.client_id, sandbox.client_secret, sandbox.environment))


@pytest.fixture
def trust(sandbox: Sandbox) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=sandbox.ca_file)


def test_32_refused_requests_cost_one_token_request(sandbox: Sandbox, auth: TokenOf, trust: ssl.SSLContext) -> None:
    """Threads that are refused with the same token share one renewal, and each request is sent once more."""
    with httpx.Client(auth=auth, verify=trust) as client:
        assert client.get(sandbox.api_url).status_code == 200
        sandbox.revoke_tokens()
        answers = at_once(32, lambda: client.post(f"{sandbox.api_url}/message", content=b"<a/>").status_code)
    assert answers == [200] * 32
    assert len(sandbox.token_requests) == 2


def test_32_tasks_cost_one_token_request(sandbox: Sandbox, auth: TokenOf, trust: ssl.SSLContext) -> None:
    """So do the tasks of an AsyncClient, whose loop stands still while a token is asked for."""

    async def burst() -> list[int]:
        async with httpx.AsyncClient(auth=auth, verify=trust) as client:
            answers = await asyncio.gather(*(client.get(f"{sandbox.api_url}/{number}") for number in range(32)))
            return [answer.status_code for answer in answers]

    auth.gopacs.fetch_token()
    sandbox.revoke_tokens()
    assert asyncio.run(burst()) == [200] * 32
    assert len(sandbox.token_requests) == 2


def test_another_host_gets_no_token(sandbox: Sandbox, auth: TokenOf, trust: ssl.SSLContext) -> None:
    """Since httpx knows no environments, these lines ask whether the URL may have the token."""
    with httpx.Client(auth=auth, verify=trust) as client:
        assert client.get(sandbox.api_url.replace("localhost", "127.0.0.1")).status_code == 401
    assert [exchange.authorization for exchange in sandbox.api_requests] == [None]
    assert sandbox.token_requests == []
