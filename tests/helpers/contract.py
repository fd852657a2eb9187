"""What a GOPACS session may count on at an authorization server; each server is held to it by a test of its own.

Statuses, errors, fields and challenges are the protocol's (RFC 6749 and 6750). Descriptions and the order of the checks
are Keycloak's, alike from 24 on. What only the newest Keycloak answers is marked `newest_keycloak`.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import requests

INVALID_TOKEN = 'Bearer realm="gopacs", error="invalid_token", error_description="Token verification failed"'
TOKEN_ANSWER = {"access_token", "expires_in", "refresh_expires_in", "token_type", "not-before-policy", "scope"}

BAD_CREDENTIALS = "Invalid client or Invalid client credentials"
NO_SERVICE_ACCOUNT = "Client not enabled to retrieve service account"
WRONG_CLIENT = 401, "invalid_client", BAD_CREDENTIALS
WRONG_SECRET = 401, "unauthorized_client", BAD_CREDENTIALS
NOT_ENABLED = 401, "unauthorized_client", NO_SERVICE_ACCOUNT
NO_GRANT = 400, "invalid_request", "Missing form parameter: grant_type"
OTHER_GRANT = 400, "unsupported_grant_type", "Unsupported grant_type"
DUPLICATED = 400, "invalid_request", "duplicated parameter"

Refusal = tuple[int, str, str]
REFUSALS: list[tuple[str, dict[str, Any], Refusal]] = [
    # The client, the fields that make its token request a wrong one, and status, error and description of the answer.
    ("ordinary", {"client_secret": "wrong"}, WRONG_SECRET),
    ("ordinary", {"client_secret": ""}, WRONG_SECRET),
    ("ordinary", {"client_secret": None}, WRONG_SECRET),
    ("ordinary", {"client_id": "nobody"}, WRONG_CLIENT),
    ("ordinary", {"client_id": ""}, WRONG_CLIENT),
    ("ordinary", {"client_id": None}, WRONG_CLIENT),
    ("ordinary", {"grant_type": None}, NO_GRANT),
    ("ordinary", {"grant_type": ""}, OTHER_GRANT),
    ("ordinary", {"grant_type": "magic"}, OTHER_GRANT),
    ("ordinary", {"scope": "nonsense"}, (400, "invalid_scope", "Invalid scopes: nonsense")),
    ("ordinary", {"scope": "email nonsense"}, (400, "invalid_scope", "Invalid scopes: email nonsense")),
    ("ordinary", {"scope": ["email", "profile"]}, DUPLICATED),
    ("disabled", {}, WRONG_CLIENT),
    ("disabled", {"client_secret": "wrong"}, WRONG_CLIENT),
    ("no-service-account", {}, NOT_ENABLED),
    ("no-service-account", {"client_secret": "wrong"}, WRONG_SECRET),
    # Where several things are wrong, the first that it looks at counts.
    ("ordinary", {"grant_type": None, "client_id": "nobody"}, NO_GRANT),
    ("ordinary", {"grant_type": "magic", "client_id": "nobody"}, OTHER_GRANT),
    ("ordinary", {"client_id": "nobody", "scope": ["email"] * 2}, WRONG_CLIENT),
    ("ordinary", {"client_secret": "wrong", "scope": ["email"] * 2}, WRONG_SECRET),
    ("ordinary", {"scope": ["nonsense"] * 2}, DUPLICATED),
    ("no-service-account", {"scope": "nonsense"}, NOT_ENABLED),
]


@dataclass(frozen=True)
class AuthorizationServer:
    """A server under contract.

    Attributes:
        token_url: the token endpoint of its realm gopacs.
        resource_url: answers 200 to a GET with a token whose scope has openid.
        http: trusts the server, and adds nothing of its own.
        credentials: client_id and client_secret of the client that is ``"ordinary"``, ``"disabled"``,
            ``"no-service-account"``, ``"short-lived"`` (its tokens live 3 s) or ``"odd-secret"``.
        revoke_tokens: makes the server refuse all tokens so far.
    """

    token_url: str
    resource_url: str
    http: requests.Session
    credentials: Callable[[str], dict[str, str]]
    revoke_tokens: Callable[[], object]

    def ask(self, client: str = "ordinary", **fields: Any) -> requests.Response:
        """A good token request but for the fields given; one of None is left out, one of a list comes repeatedly."""
        form = {"grant_type": "client_credentials", **self.credentials(client), **fields}
        return self.http.post(self.token_url, data=form, timeout=10)

    def call(self, token: str | None) -> requests.Response:
        """The resource's answer to this token, or to none."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.http.get(self.resource_url, headers=headers, timeout=10)


def claims(token: str) -> dict[str, Any]:
    """What a JWT says, without a look at its signature."""
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return decoded


def assert_own_answer(response: requests.Response) -> None:
    """The headers are those of the token endpoint itself, whose answers nobody may store (RFC 6749 section 5.1)."""
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"
    assert not {"WWW-Authenticate", "Set-Cookie"} & {*response.headers}


class TokenEndpointContract:
    """The answers of the token endpoint."""

    def test_token_answer(self, authorization_server: AuthorizationServer) -> None:
        """A token answer has these fields, and an expires_in that may have lost the second in which it was made."""
        response = authorization_server.ask()
        assert response.status_code == 200
        assert_own_answer(response)
        answer = response.json()
        assert set(answer) == TOKEN_ANSWER
        assert answer["expires_in"] in (299, 300)
        assert isinstance(answer["expires_in"], int)
        assert (answer["refresh_expires_in"], answer["token_type"]) == (0, "Bearer")
        assert sorted(answer["scope"].split()) == ["email", "profile"]

    def test_token_is_a_jwt(self, authorization_server: AuthorizationServer) -> None:
        """A token says to whom it was issued, until when, and with which roles; no two are alike."""
        before = int(time.time())
        tokens = [authorization_server.ask("short-lived").json()["access_token"] for _ in range(2)]
        said = claims(tokens[0])
        assert said["azp"] == authorization_server.credentials("short-lived")["client_id"]
        assert before + 3 <= said["exp"] <= time.time() + 3
        assert isinstance(said["realm_access"]["roles"], list)
        assert tokens[0].count(".") == 2
        assert tokens[0] != tokens[1]

    @pytest.mark.parametrize("scope, more", [("email", []), ("openid", ["openid"]), ("profile openid", ["openid"])])
    def test_scope_of_the_answer(self, authorization_server: AuthorizationServer, scope: str, more: list[str]) -> None:
        """The client's default scopes are in the answer, whichever it asked for, and in no certain order."""
        granted = authorization_server.ask(scope=scope).json()["scope"].split()
        assert sorted(granted) == ["email", *more, "profile"]

    @pytest.mark.parametrize(
        "secret, status",
        [
            ("%2B%2F%25%26%3D%20%C3%BC%E2%82%AC", 200),
            ("%2b%2f%25%26%3d+%c3%bc%e2%82%ac", 200),
            ("+/%25%26%3D%20%C3%BC%E2%82%AC", 401),  # a + is a space
            ("%2B%2F%25%26%3D%20%FC%80", 401),  # cp1252
        ],
    )
    def test_odd_secret(self, authorization_server: AuthorizationServer, secret: str, status: int) -> None:
        """A secret of any characters is known again if it comes as UTF-8 in a form, with spaces as + or %20."""
        client_id = authorization_server.credentials("odd-secret")["client_id"]
        form = f"grant_type=client_credentials&client_id={client_id}&client_secret={secret}"
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
        url = authorization_server.token_url
        assert authorization_server.http.post(url, data=form, headers=headers, timeout=10).status_code == status

    @pytest.mark.parametrize("client, fields, refusal", REFUSALS)
    def test_refusal(
        self,
        authorization_server: AuthorizationServer,
        client: str,
        fields: dict[str, Any],
        refusal: tuple[int, str, str],
    ) -> None:
        """What is wrong with a token request is told by status, error and description, in JSON that nobody stores."""
        response = authorization_server.ask(client, **fields)
        status, error, description = refusal
        assert (response.status_code, response.json()) == (status, {"error": error, "error_description": description})
        assert_own_answer(response)

    def test_unknown_parameter(self, authorization_server: AuthorizationServer) -> None:
        """A parameter that means nothing is ignored."""
        assert authorization_server.ask(unheard_of="1").status_code == 200

    @pytest.mark.parametrize(
        "method, path, status",
        [
            ("GET", "/realms/gopacs/protocol/openid-connect/token", 405),
            ("PUT", "/realms/gopacs/protocol/openid-connect/token", 405),
            ("POST", "/realms/gopacs/token", 404),
            ("POST", "/realms/GOPACS/protocol/openid-connect/token", 404),
            ("POST", "/realms/gopacs/protocol/openid-connect/token/", 400),  # The slash makes no difference.
        ],
    )
    def test_place(self, authorization_server: AuthorizationServer, method: str, path: str, status: int) -> None:
        """A wrong method is a 405 and a wrong path a 404, in JSON."""
        url = authorization_server.token_url.partition("/realms/")[0] + path
        response = authorization_server.http.request(method, url, headers={"Accept": "application/json"}, timeout=10)
        assert (response.status_code, response.headers["Content-Type"]) == (status, "application/json")
        assert response.json()["error"]


class ProtectedResourceContract:
    """The answers of a resource that takes the server's tokens (RFC 6750 section 3)."""

    def test_good_token(self, authorization_server: AuthorizationServer) -> None:
        """A fresh token is accepted, more than once."""
        token = authorization_server.ask(scope="openid").json()["access_token"]
        assert [authorization_server.call(token).status_code for _ in range(2)] == [200, 200]

    @pytest.mark.parametrize(
        "token, challenge",
        [
            (None, 'Bearer realm="gopacs"'),
            ("garbage", INVALID_TOKEN),
            pytest.param("e30.e30.e30", INVALID_TOKEN, marks=pytest.mark.newest_keycloak),
        ],
    )
    def test_no_good_token(self, authorization_server: AuthorizationServer, token: str | None, challenge: str) -> None:
        """Without a token there is a challenge that names no error; one that was not issued here is invalid."""
        response = authorization_server.call(token)
        assert (response.status_code, response.content) == (401, b"")
        assert response.headers["WWW-Authenticate"] == challenge

    def test_revoked_token(self, authorization_server: AuthorizationServer) -> None:
        """A revocation makes a token invalid at once, not the next one, whose answer says when it was."""
        token, before = authorization_server.ask(scope="openid").json()["access_token"], int(time.time())
        authorization_server.revoke_tokens()
        response = authorization_server.call(token)
        assert (response.status_code, response.content) == (401, b"")
        assert response.headers["WWW-Authenticate"] == INVALID_TOKEN
        answer = authorization_server.ask(scope="openid").json()
        assert before <= answer["not-before-policy"] <= time.time()
        assert authorization_server.call(answer["access_token"]).status_code == 200
