"""What a user might pick instead, each used as its own documentation shows, with a token that is there already."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import requests
from oauthlib.oauth2 import BackendApplicationClient, TokenExpiredError
from requests.adapters import HTTPAdapter
from requests_oauthlib import OAuth2Session
from servers import TOKEN, Service

from gopacs_session import Environment, GopacsSession

OURS, PLAIN, PARENT, HTTPX = "gopacs_session", "plain requests", "requests-oauthlib", "httpx"
AUTHORIZATION = {"Authorization": f"Bearer {TOKEN['access_token']}"}


def token(life: float = 86400) -> dict[str, Any]:
    """One that expires in so many seconds."""
    return {**TOKEN, "expires_at": time.time() + life}


def gopacs_session(service: Service) -> GopacsSession:
    session = GopacsSession("my-api-client", "its-secret", Environment("bench", service.token_url, ("localhost",)))
    session.token, session.timeout = token(), None  # The others have no timeout either.
    return session


def plain_requests(service: Service) -> requests.Session:
    session = requests.Session()
    session.headers.update(AUTHORIZATION)
    return session


def httpx_client(service: Service) -> httpx.Client:
    # Without limits: while it closes idle connections beyond 20, another thread may just be taking one of them.
    return httpx.Client(headers=AUTHORIZATION, timeout=None, limits=httpx.Limits())


class Textbook(OAuth2Session):
    """The subclass that tutorials show, with a connection for each of many threads."""

    def __init__(self, service: Service) -> None:
        super().__init__(client=BackendApplicationClient("my-api-client"), token=token())
        self._token_url = service.token_url
        self.mount("https://", HTTPAdapter(pool_maxsize=128))

    def request(self, *args: Any, **options: Any) -> requests.Response:
        try:
            return super().request(*args, **options)
        except TokenExpiredError:
            self.fetch_token(self._token_url, client_secret="its-secret", include_client_id=True)
            return super().request(*args, **options)


CONTENDERS: dict[str, Callable[[Service], Any]] = {
    OURS: gopacs_session,
    PLAIN: plain_requests,
    PARENT: Textbook,
    HTTPX: httpx_client,
}
