"""What a user might pick instead, each used as its own documentation shows."""

from __future__ import annotations

import datetime
import os
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import requests
import urllib3
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from databricks.sdk.oauth import ClientCredentials, Token
from google.auth.credentials import Credentials
from google.auth.transport.requests import AuthorizedSession
from oauthlib.oauth2 import BackendApplicationClient, TokenExpiredError
from requests.adapters import HTTPAdapter
from requests_auth import OAuth2, OAuth2ClientCredentials
from requests_oauth2client import BearerToken, OAuth2Client, OAuth2ClientCredentialsAuth
from requests_oauthlib import OAuth2Session
from shapeshifter_uftp.oauth import OAuthClient

from gopacs_session import Environment, GopacsSession

PLAIN, TUNED, URLLIB3, HTTPX = "plain requests", "requests, tuned", "urllib3 alone", "httpx"
OURS, PARENT = "gopacs_session", "requests-oauthlib"
POOL_SIZE = 64  # as ours
LONG_AGO = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)


@dataclass(frozen=True)
class Service:
    """An authorization server and an API.

    Attributes:
        known: a token answer that needs no request any more.
    """

    token_url: str
    api_url: str
    client_id: str
    client_secret: str
    known: dict[str, Any] | None = None

    def grant(self) -> dict[str, str]:
        return {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self.client_secret}

    def token(self) -> dict[str, Any]:
        return self.known or requests.post(self.token_url, data=self.grant()).json()

    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token()['access_token']}"}


@dataclass(frozen=True)
class Contender:
    """A way to call the API with a token that is there already.

    Args:
        client: makes the requests.
        get: calls the API.
        expire: makes the token look expired; None for those who know of no expiry.
    """

    client: Any
    get: Callable[[str], Any]
    expire: Callable[[], Any] | None = None

    def close(self) -> None:
        """Close its connections."""
        (self.client.clear if isinstance(self.client, urllib3.PoolManager) else self.client.close)()


def gopacs_session(service: Service) -> Contender:
    host = service.api_url.split("/")[2].split(":")[0]
    session = GopacsSession(
        service.client_id, service.client_secret, Environment("bench", service.token_url, (host,)), timeout=None
    )
    session.token = service.known
    if not session.token:
        session.fetch_token()
    return Contender(session, session.get, lambda: setattr(session, "token", {**session.token, "expires_at": 1}))


def plain_requests(service: Service) -> Contender:
    """A fixed header, and no idea of expiry."""
    session = requests.Session()
    session.headers.update(service.authorization())
    return Contender(session, session.get)


def tuned_requests(service: Service) -> Contender:
    """An auth that does nothing spares requests the look into netrc; the pool is as large as ours."""
    session = requests.Session()
    session.headers.update(service.authorization())
    session.auth = lambda request: request
    session.mount("https://", HTTPAdapter(pool_maxsize=POOL_SIZE))
    return Contender(session, session.get)


def urllib3_alone(service: Service) -> Contender:
    """What requests is made of, with one TLS context."""
    pool = urllib3.PoolManager(maxsize=POOL_SIZE, headers=service.authorization(), ssl_context=_context())
    return Contender(pool, lambda url: pool.request("GET", url))


class FlowAuth(httpx.Auth):
    """As httpx's documentation shows it; it lets each thread that finds the token expired fetch one."""

    requires_response_body = True

    def __init__(self, service: Service) -> None:
        self.service = service
        self.update(service.token())

    def update(self, token: dict[str, Any]) -> None:
        self.authorization = f"Bearer {token['access_token']}"
        self.expires_at = time.time() + token["expires_in"]

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:
        if time.time() >= self.expires_at:
            answer = yield httpx.Request("POST", self.service.token_url, data=self.service.grant())
            self.update(answer.json())
        request.headers["Authorization"] = self.authorization
        yield request


def httpx_auth_flow(service: Service) -> Contender:
    auth = FlowAuth(service)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=POOL_SIZE)
    client = httpx.Client(auth=auth, limits=limits, timeout=None, verify=_context())
    return Contender(client, client.get, lambda: setattr(auth, "expires_at", 1))


def _context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])


class Textbook(OAuth2Session):
    """The subclass that tutorials show."""

    def __init__(self, service: Service) -> None:
        super().__init__(client=BackendApplicationClient(service.client_id))
        self.service = service
        if service.known:
            self.token = service.known
        else:
            self.renew()

    def renew(self) -> None:
        self.fetch_token(self.service.token_url, client_secret=self.service.client_secret, include_client_id=True)

    def request(self, *args: Any, **options: Any) -> requests.Response:
        try:
            return super().request(*args, **options)
        except TokenExpiredError:
            self.renew()
            return super().request(*args, **options)


def requests_oauthlib(service: Service) -> Contender:
    session = Textbook(service)
    return Contender(session, session.get, lambda: setattr(session._client, "_expires_at", 1))


def authlib(service: Service) -> Contender:
    session = AuthlibSession(
        service.client_id, service.client_secret, token_endpoint=service.token_url,
        token_endpoint_auth_method="client_secret_post", grant_type="client_credentials",
    )  # fmt: skip
    session.fetch_token()
    return Contender(session, session.get, lambda: session.token.update(expires_at=1))


def requests_oauth2client(service: Service) -> Contender:
    client = OAuth2Client(service.token_url, client_id=service.client_id, client_secret=service.client_secret)
    auth = OAuth2ClientCredentialsAuth(client, token=client.client_credentials())
    session = requests.Session()
    session.auth = auth
    return Contender(session, session.get, lambda: setattr(auth, "token", BearerToken("old", expires_at=LONG_AGO)))


def requests_auth(service: Service) -> Contender:
    OAuth2.token_cache.clear()
    session = requests.Session()
    session.auth = OAuth2ClientCredentials(
        service.token_url, client_id=service.client_id, client_secret=service.client_secret
    )
    session.get(service.api_url)
    return Contender(session, session.get, OAuth2.token_cache.clear)


class GoogleCredentials(Credentials):
    """google-auth has no client credentials class of its own that sends the secret in the body."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self.service = service

    def refresh(self, request: Any) -> None:
        answer = requests.post(self.service.token_url, data=self.service.grant()).json()
        self.token = answer["access_token"]
        life = datetime.timedelta(seconds=answer["expires_in"])
        self.expiry = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + life


def google_auth(service: Service) -> Contender:
    credentials = GoogleCredentials(service)
    session = AuthorizedSession(credentials)
    session.get(service.api_url)
    return Contender(session, session.get, lambda: setattr(credentials, "expiry", LONG_AGO.replace(tzinfo=None)))


def databricks_sdk(service: Service) -> Contender:
    source = ClientCredentials(service.client_id, service.client_secret, service.token_url, use_params=True)
    session = requests.Session()
    source.token()

    def get(url: str) -> requests.Response:
        return session.get(url, headers={"Authorization": f"Bearer {source.token().access_token}"})

    old = Token("old", "Bearer", expiry=LONG_AGO.replace(tzinfo=None))
    return Contender(session, get, lambda: setattr(source, "_token", old))


def shapeshifter_uftp(service: Service) -> Contender:
    client = OAuthClient(service.token_url, service.client_id, service.client_secret)
    session = requests.Session()
    client.authenticate()

    def get(url: str) -> requests.Response:
        with client.ensure_authenticated():
            return session.get(url, headers=client.auth_header)

    return Contender(session, get, lambda: setattr(client, "access_token_expiry", time.time() - 1))


CONTENDERS: dict[str, Callable[[Service], Contender]] = {
    OURS: gopacs_session,
    PLAIN: plain_requests,
    TUNED: tuned_requests,
    URLLIB3: urllib3_alone,
    HTTPX: httpx_auth_flow,
    PARENT: requests_oauthlib,
    "authlib": authlib,
    "requests-oauth2client": requests_oauth2client,
    "requests-auth": requests_auth,
    "google-auth": google_auth,
    "databricks-sdk": databricks_sdk,
    "shapeshifter-uftp": shapeshifter_uftp,
}
NEAREST = {name: CONTENDERS[name] for name in (OURS, PLAIN, TUNED, URLLIB3, HTTPX, PARENT)}
