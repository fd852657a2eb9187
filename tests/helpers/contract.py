"""What a GOPACS session may count on at an authorization server; each server is held to it by a test of its own.

Statuses, errors, fields and challenges are the protocol's (RFC 6749 and 6750). Descriptions, texts and the order of the
checks are Keycloak's, alike from 24 on. What only the newest Keycloak answers is marked `newest_keycloak`.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import pytest
import requests

BAD_CREDENTIALS = "Invalid client or Invalid client credentials"
NO_SERVICE_ACCOUNT = "Client not enabled to retrieve service account"
UNSUPPORTED_GRANT = "Unsupported grant_type"
MISSING_GRANT = "Missing form parameter: grant_type"
INVALID_TOKEN = 'Bearer realm="gopacs", error="invalid_token", error_description="Token verification failed"'

TOKEN_ANSWER = {"access_token", "expires_in", "refresh_expires_in", "token_type", "not-before-policy", "scope"}


@dataclass(frozen=True)
class AuthorizationServer:
    """A server under contract.

    Attributes:
        token_url: the token endpoint of its realm gopacs.
        resource_url: answers 200 to a GET with a token whose scope has openid.
        http: trusts the server, and adds nothing of its own.
        credentials: client_id and client_secret of the client that is ``"ordinary"``, ``"disabled"``,
            ``"no-service-account"``, ``"short-lived"`` (its tokens live 3 s), ``"refresh-tokens"`` or ``"odd-secret"``.
        revoke_tokens: makes the server refuse all tokens so far.
    """

    token_url: str
    resource_url: str
    http: requests.Session
    credentials: Callable[[str], dict[str, str]]
    revoke_tokens: Callable[[], object]

    def ask(self, client: str = "ordinary", headers: dict[str, str] | None = None, **fields: Any) -> requests.Response:
        """A good token request but for the fields given; one of None is left out, one of a list comes repeatedly."""
        form = {"grant_type": "client_credentials", **self.credentials(client), **fields}
        return self.http.post(self.token_url, data=form, headers=headers, timeout=10)

    def call(self, token: str | None) -> requests.Response:
        """The resource's answer to this token, or to none."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.http.get(self.resource_url, headers=headers, timeout=10)


def claims(token: str) -> dict[str, Any]:
    """What a JWT says, without a look at its signature."""
    payload = token.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return decoded


def assert_refusal(response: requests.Response, status: int, error: str, description: str) -> None:
    """It is this error of RFC 6749 section 5.2, in the form that Keycloak gives it."""
    assert (response.status_code, response.json()) == (status, {"error": error, "error_description": description})
    assert_own_answer(response)


def assert_own_answer(response: requests.Response) -> None:
    """The headers are those of the token endpoint itself, whose answers nobody may store (RFC 6749 section 5.1)."""
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"
    # Not even to those who tried Basic, as RFC 6749 section 5.2 wants it.
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
        # 0, or when tokens of this client, its account or the realm were last revoked.
        assert isinstance(answer["not-before-policy"], int)

    def test_token_is_a_jwt(self, authorization_server: AuthorizationServer) -> None:
        """A token says who issued it, to whom, when, for how long, and with which roles; no two are alike."""
        before = int(time.time())
        tokens = [authorization_server.ask("short-lived").json()["access_token"] for _ in range(2)]
        header, said = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in tokens[0].split(".")[:2])
        assert (header["alg"], header["typ"]) == ("RS256", "JWT")
        client_id = authorization_server.credentials("short-lived")["client_id"]
        assert said["iss"] == authorization_server.token_url.removesuffix("/protocol/openid-connect/token")
        assert said["azp"] == client_id
        assert said["preferred_username"] == f"service-account-{client_id}"
        assert said["exp"] - said["iat"] == 3
        assert before <= said["iat"] <= time.time()
        assert isinstance(said["realm_access"]["roles"], list)
        assert tokens[0] != tokens[1]

    def test_answer_with_refresh_token(self, authorization_server: AuthorizationServer) -> None:
        """A client with refresh tokens gets the fields of GOPACS's manual, and a life that may have lost a second."""
        response = authorization_server.ask("refresh-tokens")
        assert response.status_code == 200
        answer = response.json()
        assert set(answer) == {*TOKEN_ANSWER, "refresh_token", "session_state"}
        assert answer["refresh_expires_in"] in (1799, 1800)
        assert answer["token_type"] == "Bearer"
        assert answer["refresh_token"].count(".") == 2
        assert isinstance(answer["session_state"], str)

    @pytest.mark.parametrize(
        "scope, more",
        [("email", []), ("openid", ["openid"]), ("openid email", ["openid"]), ("profile openid", ["openid"])],
    )
    def test_scope_of_the_answer(self, authorization_server: AuthorizationServer, scope: str, more: list[str]) -> None:
        """The client's default scopes are in the answer, whichever it asked for, and in no certain order."""
        granted = authorization_server.ask(scope=scope).json()["scope"].split()
        assert sorted(granted) == ["email", *more, "profile"]

    def test_odd_secret(self, authorization_server: AuthorizationServer) -> None:
        """A secret of any characters is known again if it comes as UTF-8 in a form, with spaces as + or %20."""
        assert authorization_server.ask("odd-secret").status_code == 200
        client_id = authorization_server.credentials("odd-secret")["client_id"]
        form = f"grant_type=client_credentials&client_id={client_id}&client_secret="
        content_type = {"Content-Type": "application/x-www-form-urlencoded"}
        for secret, status in [
            ("%2B%2F%25%26%3D%20%C3%BC%E2%82%AC", 200),
            ("%2b%2f%25%26%3d+%c3%bc%e2%82%ac", 200),
            ("+/%25%26%3D%20%C3%BC%E2%82%AC", 401),  # a + is a space
            ("%2B%2F%25%26%3D%20%FC%80", 401),  # cp1252
        ]:
            response = authorization_server.http.post(
                authorization_server.token_url, data=form + secret, headers=content_type, timeout=10
            )
            assert (secret, response.status_code) == (secret, status)

    @pytest.mark.parametrize(
        "fields, status, error, description",
        [
            ({"client_secret": "wrong"}, 401, "unauthorized_client", BAD_CREDENTIALS),
            ({"client_secret": ""}, 401, "unauthorized_client", BAD_CREDENTIALS),
            ({"client_secret": None}, 401, "unauthorized_client", BAD_CREDENTIALS),
            ({"client_id": "nobody"}, 401, "invalid_client", BAD_CREDENTIALS),
            ({"client_id": ""}, 401, "invalid_client", BAD_CREDENTIALS),
            ({"client_id": None}, 401, "invalid_client", BAD_CREDENTIALS),
            ({"client_id": None, "client_secret": None}, 401, "invalid_client", BAD_CREDENTIALS),
            ({"grant_type": None}, 400, "invalid_request", MISSING_GRANT),
            ({"grant_type": ""}, 400, "unsupported_grant_type", UNSUPPORTED_GRANT),
            ({"grant_type": "magic"}, 400, "unsupported_grant_type", UNSUPPORTED_GRANT),
            ({"scope": "nonsense"}, 400, "invalid_scope", "Invalid scopes: nonsense"),
            ({"scope": "email nonsense"}, 400, "invalid_scope", "Invalid scopes: email nonsense"),
            ({"scope": ""}, 400, "invalid_scope", "Invalid scopes: "),
            ({"grant_type": ["client_credentials"] * 2}, 400, "invalid_request", "duplicated parameter"),
            ({"scope": ["email", "profile"]}, 400, "invalid_request", "duplicated parameter"),
            ({"unheard_of": ["1", "2"]}, 400, "invalid_request", "duplicated parameter"),
            # Where several things are wrong, the first that it looks at counts.
            ({"grant_type": None, "client_id": "nobody"}, 400, "invalid_request", MISSING_GRANT),
            ({"grant_type": None, "client_secret": "wrong"}, 400, "invalid_request", MISSING_GRANT),
            ({"grant_type": "magic", "client_id": "nobody"}, 400, "unsupported_grant_type", UNSUPPORTED_GRANT),
            ({"client_id": "nobody", "scope": ["email"] * 2}, 401, "invalid_client", BAD_CREDENTIALS),
            ({"client_secret": "wrong", "scope": "nonsense"}, 401, "unauthorized_client", BAD_CREDENTIALS),
            ({"client_secret": "wrong", "scope": ["email"] * 2}, 401, "unauthorized_client", BAD_CREDENTIALS),
            ({"scope": ["nonsense"] * 2}, 400, "invalid_request", "duplicated parameter"),
        ],
    )
    def test_refusal(
        self,
        authorization_server: AuthorizationServer,
        fields: dict[str, Any],
        status: int,
        error: str,
        description: str,
    ) -> None:
        """What is wrong with a token request is told by status, error and description, in JSON that nobody stores."""
        assert_refusal(authorization_server.ask(**fields), status, error, description)

    @pytest.mark.parametrize(
        "client, error, description, for_wrong_secret",
        [
            ("disabled", "invalid_client", BAD_CREDENTIALS, ("invalid_client", BAD_CREDENTIALS)),
            (
                "no-service-account",
                "unauthorized_client",
                NO_SERVICE_ACCOUNT,
                ("unauthorized_client", BAD_CREDENTIALS),
            ),
        ],
    )
    def test_client_that_may_not(
        self,
        authorization_server: AuthorizationServer,
        client: str,
        error: str,
        description: str,
        for_wrong_secret: tuple[str, str],
    ) -> None:
        """A disabled client is answered as an unknown one; one without service account is told so if it is itself."""
        assert_refusal(authorization_server.ask(client), 401, error, description)
        assert_refusal(authorization_server.ask(client, client_secret="wrong"), 401, *for_wrong_secret)
        two_wrongs = authorization_server.ask(client, scope="nonsense")
        assert_refusal(two_wrongs, 401, error, description)

    def test_unknown_parameter(self, authorization_server: AuthorizationServer) -> None:
        """A parameter that means nothing is ignored."""
        assert authorization_server.ask(unheard_of="1").status_code == 200

    def test_charset_of_the_form(self, authorization_server: AuthorizationServer) -> None:
        """The content type of the form may name a charset."""
        content_type = "application/x-www-form-urlencoded; charset=UTF-8"
        assert authorization_server.ask(headers={"Content-Type": content_type}).status_code == 200

    @pytest.mark.parametrize(
        "content_type", ["application/json", "text/plain", "Application/X-WWW-Form-Urlencoded", None]
    )
    def test_reads_forms_only(self, authorization_server: AuthorizationServer, content_type: str | None) -> None:
        """A form that is not called one, in small letters, or that stands in the query, is not read."""
        credentials = authorization_server.credentials("ordinary")
        form = "&".join(f"{name}={value}" for name, value in credentials.items()) + "&grant_type=client_credentials"
        response = authorization_server.http.post(
            f"{authorization_server.token_url}?{form}",
            data=form.encode(),
            headers={} if content_type is None else {"Content-Type": content_type},
            timeout=10,
        )
        assert_refusal(response, 400, "invalid_request", MISSING_GRANT)

    @pytest.mark.parametrize(
        "client, password, fields, status",
        [
            ("ordinary", "right", {}, 200),
            ("ordinary", "wrong", {}, 401),
            # Those in the form win.
            ("ordinary", "wrong", {"client_secret": "right"}, 200),
            ("ordinary", "right", {"client_secret": "wrong"}, 401),
            ("odd-secret", "right", {}, 200),
        ],
    )
    def test_credentials_in_the_header(
        self, authorization_server: AuthorizationServer, client: str, password: str, fields: dict[str, str], status: int
    ) -> None:
        """Basic credentials do as well as those in the form, if they are encoded as RFC 6749 section 2.3.1 says."""
        client_id, right = authorization_server.credentials(client).values()
        form = {name: right if value == "right" else value for name, value in fields.items()}
        response = authorization_server.http.post(
            authorization_server.token_url,
            data={"grant_type": "client_credentials", **form},
            auth=(client_id, quote_plus(right) if password == "right" else password),
            timeout=10,
        )
        assert response.status_code == status
        if status == 401:
            assert_refusal(response, 401, "unauthorized_client", BAD_CREDENTIALS)

    def test_own_answers_are_json_for_everyone(self, authorization_server: AuthorizationServer) -> None:
        """Token and refusal are JSON even for a client that prefers HTML."""
        html = {"Accept": "text/html"}
        assert_own_answer(authorization_server.ask(headers=html))
        refusal = authorization_server.ask(headers=html, client_secret="wrong")
        assert_refusal(refusal, 401, "unauthorized_client", BAD_CREDENTIALS)

    @pytest.mark.parametrize(
        "method, place, wrong, status, error",
        [
            ("GET", "", "?grant_type=client_credentials", 405, "HTTP 405 Method Not Allowed"),
            ("PUT", "", "", 405, "HTTP 405 Method Not Allowed"),
            # Next to the token endpoint there is something else, of another method.
            ("POST", "/token", "/tokens", 405, "HTTP 405 Method Not Allowed"),
            ("GET", "/token", "/tokens", 404, "HTTP 404 Not Found"),
            ("POST", "/protocol/openid-connect/token", "/token", 404, "HTTP 404 Not Found"),
            ("POST", "/realms/gopacs/", "/realms/gopac/", 404, "Realm does not exist"),
            ("POST", "/realms/gopacs/", "/realms/GOPACS/", 404, "Realm does not exist"),
        ],
    )
    def test_wrong_place(
        self, authorization_server: AuthorizationServer, method: str, place: str, wrong: str, status: int, error: str
    ) -> None:
        """A wrong method is a 405 and a wrong path a 404: in HTML for those who mention it, else in JSON."""
        url = authorization_server.token_url
        url = url.replace(place, wrong) if place else url + wrong
        for accept in "application/json", "*/*", "application/xml":
            response = authorization_server.http.request(method, url, headers={"Accept": accept}, timeout=10)
            # Older Keycloaks add a description, which refers to their log.
            assert (response.status_code, response.json()["error"]) == (status, error)
            assert response.headers["Content-Type"] == "application/json"
            assert not {"Cache-Control", "Pragma", "Allow"} & {*response.headers}
        for accept in "text/html", "application/json, text/html;q=0.5":
            response = authorization_server.http.request(method, url, headers={"Accept": accept}, timeout=10)
            assert response.status_code == status
            assert response.headers["Content-Type"] == "text/html;charset=utf-8"
            assert response.text.lstrip().lower().startswith("<!doctype html>")

    def test_slash_at_the_end(self, authorization_server: AuthorizationServer) -> None:
        """A slash behind the path makes no difference."""
        form = {"grant_type": "client_credentials", **authorization_server.credentials("ordinary")}
        response = authorization_server.http.post(f"{authorization_server.token_url}/", data=form, timeout=10)
        assert response.status_code == 200


class ProtectedResourceContract:
    """The answers of a resource that takes the server's tokens (RFC 6750 section 3)."""

    def test_good_token(self, authorization_server: AuthorizationServer) -> None:
        """A fresh token is accepted, more than once."""
        token = authorization_server.ask(scope="openid").json()["access_token"]
        assert [authorization_server.call(token).status_code for _ in range(2)] == [200, 200]

    def test_no_token(self, authorization_server: AuthorizationServer) -> None:
        """Without a token there is a challenge that names no error, and no body."""
        response = authorization_server.call(None)
        assert (response.status_code, response.content) == (401, b"")
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="gopacs"'

    @pytest.mark.parametrize("token", ["garbage", pytest.param("e30.e30.e30", marks=pytest.mark.newest_keycloak)])
    def test_strange_token(self, authorization_server: AuthorizationServer, token: str) -> None:
        """A token that was not issued here is invalid."""
        response = authorization_server.call(token)
        assert (response.status_code, response.content) == (401, b"")
        assert response.headers["WWW-Authenticate"] == INVALID_TOKEN

    def test_revoked_token(self, authorization_server: AuthorizationServer) -> None:
        """A revocation makes a token invalid at once, not the next one, whose answer tells of it."""
        token, before = authorization_server.ask(scope="openid").json()["access_token"], int(time.time())
        authorization_server.revoke_tokens()
        response = authorization_server.call(token)
        assert (response.status_code, response.content) == (401, b"")
        assert response.headers["WWW-Authenticate"] == INVALID_TOKEN
        answer = authorization_server.ask(scope="openid").json()
        assert before <= answer["not-before-policy"] <= time.time()
        assert authorization_server.call(answer["access_token"]).status_code == 200
