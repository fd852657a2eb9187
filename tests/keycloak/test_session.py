"""A session gets its token from a real Keycloak, or a typed error that says why not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
import requests
from contract import BAD_CREDENTIALS, MISSING_GRANT, NO_SERVICE_ACCOUNT, TOKEN_ANSWER, UNSUPPORTED_GRANT, claims
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


@pytest.mark.parametrize("secret_of", [lambda secret: secret, lambda secret: lambda: secret], ids=["text", "callable"])
def test_odd_secret(keycloak: Keycloak, api: ProtectedApi, connect: Connect, secret_of: Callable[[str], Any]) -> None:
    """A secret of `+/%&= ü€` arrives intact, and so does it from a callable."""
    session = connect("odd-secret", client_secret=secret_of(keycloak.clients["gopacs-odd-secret"]))
    assert session.get(api.url).json()["client_id"] == "gopacs-odd-secret"


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


class Altering(HTTPAdapter):
    """Alters token requests on their way, as no session would send them; counts them."""

    def __init__(self, alter: Callable[[requests.PreparedRequest], None]) -> None:
        super().__init__()
        self.alter = alter
        self.sent = 0

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        self.alter(request)
        self.sent += 1
        return super().send(request, *args, **options)


def form(**fields: str | None) -> Callable[[requests.PreparedRequest], None]:
    """Set fields of the form; those of None are taken out."""

    def alter(request: requests.PreparedRequest) -> None:
        changed = {**dict(parse_qsl(str(request.body))), **fields}
        request.prepare_body({name: value for name, value in changed.items() if value is not None}, None)

    return alter


def twice(name: str) -> Callable[[requests.PreparedRequest], None]:
    """Repeat a field of the form."""

    def alter(request: requests.PreparedRequest) -> None:
        fields = parse_qsl(str(request.body))
        request.prepare_body(urlencode(fields + [field for field in fields if field[0] == name]), None)
        request.headers["Content-Type"] = "application/x-www-form-urlencoded"

    return alter


def get(request: requests.PreparedRequest) -> None:
    """Ask with the wrong method."""
    request.method = "GET"


def as_it_is(request: requests.PreparedRequest) -> None:
    """Alter nothing."""


@pytest.mark.parametrize(
    "client, options, alter, kind, status, error, description",
    [
        ("ordinary", {"client_secret": "x"}, as_it_is, InvalidClientError, 401, "unauthorized_client", BAD_CREDENTIALS),
        ("ordinary", {}, form(client_secret=None), InvalidClientError, 401, "unauthorized_client", BAD_CREDENTIALS),
        ("unknown", {}, as_it_is, InvalidClientError, 401, "invalid_client", BAD_CREDENTIALS),
        ("disabled", {}, as_it_is, InvalidClientError, 401, "invalid_client", BAD_CREDENTIALS),
        ("ordinary", {}, form(client_id=None), InvalidClientError, 401, "invalid_client", BAD_CREDENTIALS),
        ("no-service-account", {}, as_it_is, InvalidClientError, 401, "unauthorized_client", NO_SERVICE_ACCOUNT),
        ("ordinary", {}, form(grant_type=None), TokenRequestError, 400, "invalid_request", MISSING_GRANT),
        ("ordinary", {}, form(grant_type="x"), TokenRequestError, 400, "unsupported_grant_type", UNSUPPORTED_GRANT),
        ("ordinary", {"scope": "x"}, as_it_is, TokenRequestError, 400, "invalid_scope", "Invalid scopes: x"),
        ("ordinary", {}, twice("client_id"), TokenRequestError, 400, "invalid_request", "duplicated parameter"),
        pytest.param(
            "ordinary", {}, get, TokenRequestError, 405, "HTTP 405 Method Not Allowed", None,
            marks=pytest.mark.newest_keycloak,
        ),
    ],
    ids=[
        "wrong secret",
        "missing secret",
        "unknown client",
        "disabled client",
        "missing client_id",
        "service account off",
        "missing grant_type",
        "unknown grant",
        "bad scope",
        "duplicated parameter",
        "GET",
    ],
)  # fmt: skip
def test_refusal(
    keycloak: Keycloak,
    api: ProtectedApi,
    connect: Connect,
    client: str,
    options: dict[str, Any],
    alter: Callable[[requests.PreparedRequest], None],
    kind: type[TokenRequestError],
    status: int,
    error: str,
    description: str | None,
) -> None:
    """A refusal is an error of its type with Keycloak's words, after one try; nothing is sent to the API."""
    session, altering = connect(client, **options), Altering(alter)
    session.mount(keycloak.token_url, altering)

    with pytest.raises(TokenRequestError) as refusal:
        session.get(api.url)

    assert type(refusal.value) is kind
    assert (refusal.value.status_code, refusal.value.error) == (status, error)
    assert refusal.value.description == description
    assert (altering.sent, api.received) == (1, [])


@pytest.mark.parametrize(
    "right, wrong, status, error",
    [
        ("/realms/gopacs/", "/realms/gopac/", 404, "Realm does not exist"),
        ("/protocol/openid-connect/token", "/token", 404, "HTTP 404 Not Found"),
        ("/openid-connect/token", "/openid-connect/tokens", 405, "HTTP 405 Method Not Allowed"),
        # As in the curl line of GOPACS's manual.
        ("/realms/", "/realm/", 404, "Unable to find matching target resource method"),
    ],
)
def test_wrong_token_url(
    keycloak: Keycloak, api: ProtectedApi, connect: Connect, right: str, wrong: str, status: int, error: str
) -> None:
    """A token_url that leads nowhere is told in Keycloak's words."""
    environment = Environment("keycloak", keycloak.token_url.replace(right, wrong), ("localhost",))
    with pytest.raises(TokenRequestError) as refusal:
        connect(environment=environment).get(api.url)
    assert type(refusal.value) is TokenRequestError
    assert (refusal.value.status_code, refusal.value.error) == (status, error)
    assert api.received == []


def test_client_disabled_and_enabled(altered_keycloak: Keycloak, api: ProtectedApi, connect: Connect) -> None:
    """A client that is disabled is refused when its token is to be renewed, and served again once it is enabled."""
    session = connect()
    assert session.get(api.url).status_code == 200
    altered_keycloak.admin.enable("gopacs-ordinary", False)
    assert session.get(api.url).status_code == 200

    session.token = None
    with pytest.raises(InvalidClientError) as refusal:
        session.get(api.url)
    assert refusal.value.error == "invalid_client"

    altered_keycloak.admin.enable("gopacs-ordinary")
    session.fetch_token()  # It asks at once, where requests get the refusal for another second.
    assert session.get(api.url).status_code == 200


def test_realm_disabled(altered_keycloak: Keycloak, api: ProtectedApi, connect: Connect) -> None:
    """A realm that is switched off is a refusal of the request, not of the client."""
    altered_keycloak.admin.enable_realm(False)
    with pytest.raises(TokenRequestError) as refusal:
        connect().get(api.url)
    assert type(refusal.value) is TokenRequestError
    assert (refusal.value.status_code, refusal.value.error) == (403, "access_denied")
    assert refusal.value.description == "Realm not enabled"


def test_distrusted_certificate(api: ProtectedApi, connect: Connect) -> None:
    """Without Keycloak's CA nothing is sent, and the message names the certificate."""
    session = connect()
    session.verify = True
    with pytest.raises(TokenRequestError, match="CERTIFICATE_VERIFY_FAILED") as failure:
        session.get(api.url)
    assert failure.value.status_code is None
    assert api.received == []
