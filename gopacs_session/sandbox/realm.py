"""Who gets a token, as Keycloak judges, and what the API answers to it (RFC 6750)."""

import base64
import json
import re
import secrets
from http.client import responses
from time import monotonic, time
from typing import Any
from urllib.parse import parse_qs

from .https import Answer, Exchange, make_answer

TOKEN_PATH = "/realms/gopacs/protocol/openid-connect/token"
SCOPES = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
WRONG_CREDENTIALS = "Invalid client or Invalid client credentials"
NO_SERVICE_ACCOUNT = "Client not enabled to retrieve service account"
MOST_TOKENS = 10_000  # remembered, so that a sandbox can run for weeks


class Realm:
    """The judgement, without sockets, threads or records."""

    def __init__(self, client_id: str, client_secret: str, token_lifetime: float) -> None:
        self.client_id, self.client_secret, self.token_lifetime = client_id, client_secret, token_lifetime
        self.client_enabled = self.service_account_enabled = True
        self._tokens: dict[str, tuple[int, float]] = {}  # token: its number, and the monotonic time of its expiry
        self._issued = self._revoked = self._not_before = 0

    def revoke_tokens(self) -> None:
        """Refuse every token issued so far from now on, as after a change of Keycloak's not-before policy."""
        self._revoked, self._not_before = self._issued, int(time())

    def judge(self, exchange: Exchange, planned: Answer | None = None) -> Answer:
        """The answer to a request, whose `token_number` is set; the planned one, whatever it asks for."""
        if not exchange.is_token_request:
            answer = self._api_answer(exchange)
            return planned or answer
        answer = planned or self._token_endpoint(exchange)
        if isinstance(answer.token, str):
            self._issued += 1
            exchange.token_number = self._issued
            self._tokens[answer.token] = self._issued, monotonic() + self.token_lifetime
            if len(self._tokens) > MOST_TOKENS:
                del self._tokens[next(iter(self._tokens))]
        return answer

    def _token_endpoint(self, request: Exchange) -> Answer:
        form = parse_qs(request.body.decode(errors="replace"), keep_blank_values=True)
        status, error, description = self._refusal(request, form) or (200, "", "")
        body = {"error": error, "error_description": description} if error else self.token_answer(form)
        return make_answer(status, body, {"Cache-Control": "no-store", "Pragma": "no-cache"})

    def token_answer(self, form: dict[str, list[str]]) -> dict[str, Any]:
        """What a good token request gets: a JWT with Keycloak's claims, whose signature is random."""
        roles = {"roles": ["trading-company", "market-messages"]}
        claims = {"exp": int(time() + self.token_lifetime), "azp": self.client_id, "realm_access": roles}
        parts = ({"alg": "RS256", "typ": "JWT"}, claims, secrets.token_hex(128))
        jwt = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
        life, openid = self.token_lifetime, "openid" in form.get("scope", [""])[0]
        return {
            "access_token": jwt,
            "expires_in": int(life) if life == int(life) else life,
            "refresh_expires_in": 0,
            "token_type": "Bearer",
            "not-before-policy": self._not_before,
            "scope": "openid profile email" if openid else "profile email",
        }

    def _refusal(self, request: Exchange, form: dict[str, list[str]]) -> tuple[int, str, str] | None:
        """Status, error and description as of Keycloak, in the order in which it looks; None if nothing is wrong."""
        names = ("grant_type", "client_id", "client_secret", "scope")
        grant, client, secret, scope = (form[name][0] if name in form else None for name in names)
        table = (
            (request.path.rstrip("/") != TOKEN_PATH, 404, "HTTP 404 Not Found", ""),
            (request.method != "POST", 405, "HTTP 405 Method Not Allowed", ""),
            (grant is None, 400, "invalid_request", "Missing form parameter: grant_type"),
            (grant != "client_credentials", 400, "unsupported_grant_type", "Unsupported grant_type"),
            (client != self.client_id or not self.client_enabled, 401, "invalid_client", WRONG_CREDENTIALS),
            (secret != self.client_secret, 401, "unauthorized_client", WRONG_CREDENTIALS),
            (any(len(values) > 1 for values in form.values()), 400, "invalid_request", "duplicated parameter"),
            (not self.service_account_enabled, 401, "unauthorized_client", NO_SERVICE_ACCOUNT),
            (not SCOPES.issuperset((scope or "email").split(" ")), 400, "invalid_scope", f"Invalid scopes: {scope}"),
        )
        return next((row[1:] for row in table if row[0]), None)

    def _api_answer(self, request: Exchange) -> Answer:
        """A challenge; or, to a good token, the status that the path asks for, or what came in."""
        scheme, _, token = (request.authorization or "").partition(" ")
        number, expiry = self._tokens.get(token.strip(), (0, 0.0)) if scheme.lower() == "bearer" else (0, 0.0)
        request.token_number = number or None
        if scheme.lower() != "bearer" or not token:
            return _challenge(401, "")
        if number <= self._revoked or expiry <= monotonic():
            return _challenge(401, ', error="invalid_token", error_description="Token verification failed"')
        if request.path.startswith("/forbidden"):
            return _challenge(403, ', error="insufficient_scope", error_description="Missing role"')
        if asked := re.fullmatch(r"/status/([45][0-9]{2})", request.path):
            status = int(asked[1])
            return make_answer(status, {"status": status, "message": responses.get(status, "")})
        headers = {**request.headers, "Authorization": f"Bearer <token {number}>"}
        echo = {"method": request.method, "path": request.path, "query": request.query, "headers": headers}
        return make_answer(200, {**echo, "body": request.body.decode(errors="replace")})


def _challenge(status: int, error: str) -> Answer:
    return make_answer(status, None, {"WWW-Authenticate": f'Bearer realm="gopacs"{error}'})
