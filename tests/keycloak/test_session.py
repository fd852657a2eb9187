"""A session gets its token from a real Keycloak, or a typed error that says why not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from contract import BAD_CREDENTIALS, NO_SERVICE_ACCOUNT, TOKEN_ANSWER, claims
from requests.adapters import HTTPAdapter

from gopacs_session import Environment, GopacsSession, InvalidClientError, TokenRequestError

from .protected_api import ProtectedApi, Received
from .server import Keycloak

Connect = Callable[..., GopacsSession]

# -- the grant ---------------------------------------------------------------------------------------------------------


def test_first_request_gets_token(keycloak: Keycloak, api: ProtectedApi, connect: Connect) -> None:
    """A session asks Keycloak for nothing until its first request, which gets a token that serves the next as well."""
    keycloak.admin.forget_events()
    session = connect()
    assert not session.authorized
    assert not keycloak.admin.events("gopacs-ordinary")

    responses = [session.get(f"{api.url}/participants"), session.post(f"{api.url}/messages", json={"power": 3})]

    assert [response.status_code for response in responses] == [200, 200]
    assert responses[0].json() == {
        "client_id": "gopacs-ordinary",
        "roles": ["market-messages", "participants", "trading-company"],
    }
    assert api.received == [Received("GET", "/participants", True, 200), Received("POST", "/messages", True, 200)]
    assert keycloak.admin.events("gopacs-ordinary") == {"CLIENT_LOGIN": 1}


def test_token_is_keycloaks_answer(connect: Connect) -> None:
    """The session's token holds Keycloak's whole answer, and an expires_at that is no later than the JWT's."""
    session = connect()
    token = session.fetch_token()
    assert set(token) == {*TOKEN_ANSWER, "expires_at"}
    assert token == session.token
    expiry = claims(token["access_token"])["exp"]
    # Keycloak counts in whole seconds: its token may end up to one of them before expires_in has passed.
    assert expiry - 2 < token["expires_at"] < expiry + 1
    assert abs(token["expires_at"] - time.time() - 300) < 5


def test_scope_that_keycloak_widens(keycloak: Keycloak, connect: Connect) -> None:
    """An answer with more scopes than were asked for is a good one, and its token good for what was asked."""
    session = connect(scope=["openid"])
    assert session.get(keycloak.userinfo_url).json()["preferred_username"] == "service-account-gopacs-ordinary"
    assert set(session.token["scope"].split()) == {"openid", "profile", "email"}


def test_odd_secret(api: ProtectedApi, connect: Connect) -> None:
    """A secret of `+/%&= ü€` arrives intact."""
    assert connect("odd-secret").get(api.url).json()["client_id"] == "gopacs-odd-secret"


def test_refresh_token_is_never_used(keycloak: Keycloak, api: ProtectedApi, connect: Connect) -> None:
    """A client that gets refresh tokens renews with its own credentials, each time (RFC 6749 section 4.4.3)."""
    keycloak.admin.forget_events()
    session = connect("refresh-tokens")
    assert session.get(api.url).status_code == 200
    assert session.token["refresh_token"]

    session.fetch_token()
    session.token = {**session.token, "expires_at": time.time() - 1}
    assert session.get(api.url).status_code == 200
    session.refresh_token()

    assert session.get(api.url).status_code == 200
    assert keycloak.admin.events("gopacs-refresh-tokens") == {"CLIENT_LOGIN": 4}


# -- refusals ----------------------------------------------------------------------------------------------------------


class Counting(HTTPAdapter):
    """Counts the token requests."""

    sent = 0

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        self.sent += 1
        return super().send(request, *args, **options)


@pytest.mark.parametrize(
    "client, options, kind, status, error, description",
    [
        ("ordinary", {"client_secret": "wrong"}, InvalidClientError, 401, "unauthorized_client", BAD_CREDENTIALS),
        ("unknown", {}, InvalidClientError, 401, "invalid_client", BAD_CREDENTIALS),
        ("disabled", {}, InvalidClientError, 401, "invalid_client", BAD_CREDENTIALS),
        ("no-service-account", {}, InvalidClientError, 401, "unauthorized_client", NO_SERVICE_ACCOUNT),
        ("ordinary", {"scope": "x"}, TokenRequestError, 400, "invalid_scope", "Invalid scopes: x"),
    ],
)
def test_refusal(
    keycloak: Keycloak,
    api: ProtectedApi,
    connect: Connect,
    client: str,
    options: dict[str, Any],
    kind: type[TokenRequestError],
    status: int,
    error: str,
    description: str,
) -> None:
    """A refusal is an error of its type with Keycloak's words, after one try; nothing is sent to the API."""
    session, counting = connect(client, **options), Counting()
    session.mount(keycloak.token_url, counting)
    with pytest.raises(TokenRequestError) as refusal:
        session.get(api.url)
    assert type(refusal.value) is kind
    assert (refusal.value.status_code, refusal.value.error) == (status, error)
    assert refusal.value.description == description
    assert (counting.sent, api.received) == (1, [])


def test_the_manuals_other_path(keycloak: Keycloak, api: ProtectedApi, connect: Connect) -> None:
    """The path in the curl line of GOPACS's manual, which leads nowhere, is told in Keycloak's words."""
    environment = Environment("keycloak", keycloak.token_url.replace("/realms/", "/realm/"), ("localhost",))
    with pytest.raises(TokenRequestError) as refusal:
        connect(environment=environment).get(api.url)
    assert type(refusal.value) is TokenRequestError
    assert (refusal.value.status_code, refusal.value.error) == (404, "Unable to find matching target resource method")
    assert api.received == []


def test_realm_disabled(altered_keycloak: Keycloak, api: ProtectedApi, connect: Connect) -> None:
    """A realm that is switched off is a refusal of the request, not of the client."""
    altered_keycloak.admin.disable_realm()
    with pytest.raises(TokenRequestError) as refusal:
        connect().get(api.url)
    assert type(refusal.value) is TokenRequestError
    assert (refusal.value.status_code, refusal.value.error) == (403, "access_denied")
    assert refusal.value.description == "Realm not enabled"
