"""httpx: an httpx.Auth that puts the token on, and renews a refused one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Generator

import httpx
import pytest

from gopacs_session import GopacsAuth
from gopacs_session.sandbox import Sandbox


class TokenOf(httpx.Auth):
    def __init__(self, gopacs: GopacsAuth) -> None:
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


def test_tasks(sandbox: Sandbox, auth: TokenOf, trust: ssl.SSLContext) -> None:
    """Tasks that are refused with the same token share one renewal, and each request is sent once more."""

    async def burst() -> list[int]:
        async with httpx.AsyncClient(auth=auth, verify=trust) as client:
            answers = await asyncio.gather(*(client.get(f"{sandbox.api_url}/{number}") for number in range(32)))
            return [answer.status_code for answer in answers]

    auth.gopacs.fetch_token()
    sandbox.revoke_tokens()
    assert asyncio.run(burst()) == [200] * 32
    assert len(sandbox.token_requests) == 2


def test_another_host(sandbox: Sandbox, auth: TokenOf, trust: ssl.SSLContext) -> None:
    """A host that is none of the environment's gets no token."""
    with httpx.Client(auth=auth, verify=trust) as client:
        assert client.get(sandbox.api_url.replace("localhost", "127.0.0.1")).status_code == 401
    assert ([exchange.authorization for exchange in sandbox.api_requests], sandbox.token_requests) == ([None], [])
