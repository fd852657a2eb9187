"""The realm: who gets a token and what it is good for, judged as Keycloak judges."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from time import monotonic, time
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from .api import api_answer
from .exchange import Answer, Exchange, make_answer, page

REALMS = "/realms/"
REALM = "/realms/gopacs"
TOKEN_PATH = f"{REALM}/protocol/openid-connect/token"
SCOPES = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
WRONG_CREDENTIALS = "Invalid client or Invalid client credentials"
NO_SERVICE_ACCOUNT = "Client not enabled to retrieve service account"


class Realm:
    """Who gets a token, and what a token is good for: the judgement, without sockets, threads or records."""

    def __init__(self, client_id: str, client_secret: str, token_lifetime: float) -> None:
        self.client_id, self.client_secret, self.token_lifetime = client_id, client_secret, token_lifetime
        self.client_enabled = self.service_account_enabled = True
        self.refresh_tokens = False
        self._tokens: dict[str, tuple[int, float]] = {}  # token: its number, and the monotonic time of its expiry
        self._issued = self._revoked = self._not_before = 0

    def revoke_tokens(self) -> None:
        """Refuse every token issued so far from now on, as after a change of Keycloak's not-before policy."""
        self._revoked, self._not_before = self._issued, int(time())

    def judge(self, request: Exchange, planned: Answer | None = None) -> tuple[Answer, Exchange]:
        """The answer to a request, and the request as it goes on record.

        Args:
            planned: the answer to give, whatever the request says.
        """
        if request.path.startswith(REALMS):
            answer = planned or self._token_endpoint(request)
            number = self._issue(answer.token) if isinstance(answer.token, str) else 0
        else:
            number, expiry = self._borne_token(request)
            good = number > self._revoked and expiry > monotonic()
            answer = planned or api_answer(request, number, good)
        return answer, replace(request, status=answer.status, token_number=number or None)

    def _issue(self, token: str) -> int:
        self._issued += 1
        self._tokens[token] = self._issued, monotonic() + self.token_lifetime
        return self._issued

    def _borne_token(self, request: Exchange) -> tuple[int, float]:
        """Number and expiry of the token that `request` bears; zeros if it was not issued here."""
        scheme, _, token = (request.authorization or "").partition(" ")
        return self._tokens.get(token.strip(), (0, 0.0)) if scheme.lower() == "bearer" else (0, 0.0)

    def _token_endpoint(self, request: Exchange) -> Answer:
        form: dict[str, list[str]] = {}
        if request.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            form = parse_qs(request.body.decode(errors="replace"), keep_blank_values=True)
        form = {**_basic_credentials(request), **form}
        status, error, description = self._refusal(request, form) or (200, "", "")
        if status in (404, 405):  # Keycloak looks at the Accept header only here.
            html = "text/html" in request.headers.get("Accept", "")
            return make_answer(status, page(status) if html else {"error": error})
        body = {"error": error, "error_description": description} if error else self._token_answer(request, form)
        return make_answer(status, body, {"Cache-Control": "no-store", "Pragma": "no-cache"})

    def _refusal(self, request: Exchange, form: Mapping[str, list[str]]) -> tuple[int, str, str] | None:
        """Status, error and description as of Keycloak, in the order in which it looks; None if nothing is wrong."""
        path = request.path.rstrip("/")
        names = ("grant_type", "client_id", "client_secret", "scope")
        grant, client, secret, scope = (form[name][0] if name in form else None for name in names)
        beside = path.rpartition("/")[0] == TOKEN_PATH.rpartition("/")[0] and request.method == "POST"
        known_scope = scope is None or SCOPES.issuperset(scope.split(" "))
        table = (
            (not path.startswith(f"{REALM}/"), 404, "Realm does not exist", ""),
            # Next to the token endpoint is something that takes no POST.
            (path != TOKEN_PATH and not beside, 404, "HTTP 404 Not Found", ""),
            (path != TOKEN_PATH or request.method != "POST", 405, "HTTP 405 Method Not Allowed", ""),
            (grant is None, 400, "invalid_request", "Missing form parameter: grant_type"),
            (grant != "client_credentials", 400, "unsupported_grant_type", "Unsupported grant_type"),
            (client != self.client_id or not self.client_enabled, 401, "invalid_client", WRONG_CREDENTIALS),
            (secret != self.client_secret, 401, "unauthorized_client", WRONG_CREDENTIALS),
            (any(len(values) > 1 for values in form.values()), 400, "invalid_request", "duplicated parameter"),
            (not self.service_account_enabled, 401, "unauthorized_client", NO_SERVICE_ACCOUNT),
            (not known_scope, 400, "invalid_scope", f"Invalid scopes: {scope}"),
        )
        return next((row[1:] for row in table if row[0]), None)

    def _token_answer(self, request: Exchange, form: Mapping[str, list[str]]) -> dict[str, Any]:
        life, scope = self.token_lifetime, "profile email"
        answer = {
            "access_token": self._jwt(request),
            "expires_in": int(life) if life == int(life) else life,
            "refresh_expires_in": 0,
            "token_type": "Bearer",
            "not-before-policy": self._not_before,
            "scope": f"openid {scope}" if "openid" in form.get("scope", [""])[0] else scope,
        }
        if self.refresh_tokens:
            answer |= {"refresh_expires_in": 1800, "refresh_token": self._jwt(request)}
            answer |= {"session_state": secrets.token_urlsafe(18)}
        return answer

    def _jwt(self, request: Exchange) -> str:
        """A token with Keycloak's claims. Its signature is random: the sandbox remembers the tokens that it issued."""
        now = int(time())
        claims = {
            "exp": now + int(self.token_lifetime),
            "iat": now,
            "iss": f"https://{request.headers.get('Host')}{REALM}",
            "azp": self.client_id,
            "client_id": self.client_id,
            "preferred_username": f"service-account-{self.client_id}",
            "realm_access": {"roles": ["trading-company", "market-messages"]},
        }
        parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
        parts += [secrets.token_bytes(256)]
        return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def _basic_credentials(request: Exchange) -> dict[str, list[str]]:
    """Credentials in the header (RFC 6749 section 2.3.1), which Keycloak takes as well; those in the form win."""
    scheme, _, encoded = (request.authorization or "").partition(" ")
    try:
        client_id, _, secret = base64.b64decode(encoded).decode().partition(":")
    except ValueError:
        return {}
    if scheme.lower() != "basic":
        return {}
    return {"client_id": [unquote_plus(client_id)], "client_secret": [unquote_plus(secret)]}
