"""A small HTTPS API that checks the bearer tokens of a real Keycloak for real."""

from __future__ import annotations

import json
import ssl
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, final

import jwt
import requests
import trustme

from .admin import plain_session
from .server import Keycloak


@dataclass(frozen=True)
class Received:
    """One request, and the status it was answered with."""

    method: str
    path: str
    had_authorization: bool
    status: int


@final
class ProtectedApi:
    """An API on loopback that takes the access tokens of one Keycloak, on any path.

    Attributes:
        url (str): without a slash at its end.
        received (list[Received]): every request so far, in the order of the answers.
    """

    def __init__(self, keycloak: Keycloak) -> None:
        self.received: list[Received] = []
        verifier = TokenVerifier(keycloak.issuer, keycloak.ca_file)
        self._server = _Server(verifier, self.received, keycloak.ca)
        self.url = f"https://localhost:{self._server.server_port}"

    def __enter__(self) -> ProtectedApi:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class TokenVerifier:
    """Judges access tokens by the realm's issuer and signing keys, as they are now."""

    def __init__(self, issuer: str, ca_file: str) -> None:
        self._issuer = issuer
        self._http = plain_session(ca_file)
        self._last_keys: dict[str, jwt.PyJWK] = {}

    def claims(self, token: str) -> dict[str, Any]:
        """Return the claims of a good token; any other raises `jwt.InvalidTokenError`."""
        # However long the keys take to come, it is not the client's time.
        arrived = time.time()
        key = self._signing_keys().get(jwt.get_unverified_header(token).get("kid", ""))
        if key is None:
            raise jwt.InvalidTokenError("signed with none of the realm's keys")
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=["RS256"],
            issuer=self._issuer,
            leeway=0,
            # As audience Keycloak names the clients in which one has roles, not the API.
            options={"require": ["exp", "iat", "iss"], "verify_aud": False, "verify_exp": False},
        )
        if claims["exp"] <= arrived:
            raise jwt.ExpiredSignatureError("expired before it arrived")
        return claims

    def _signing_keys(self) -> dict[str, jwt.PyJWK]:
        """Ask for every token anew: a rotation counts at once. If Keycloak is down, the last."""
        try:
            answer = self._http.get(f"{self._issuer}/protocol/openid-connect/certs", timeout=5)
            answer.raise_for_status()
        except requests.RequestException:
            return self._last_keys
        self._last_keys = keys = {key["kid"]: jwt.PyJWK(key) for key in answer.json()["keys"] if key["use"] == "sig"}
        return keys


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, verifier: TokenVerifier, received: list[Received], ca: trustme.CA) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.verifier = verifier
        self.received = received
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("localhost", "127.0.0.1").configure_cert(self._tls)

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        # The first read shakes hands, in the connection's own thread: here it would hold up others.
        tls_connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return tls_connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client may hang up, or distrust our CA.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: _Server

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, body = self._judge()
        had_authorization = "Authorization" in self.headers
        received = Received(self.command, self.path, had_authorization, status)
        # Before the answer goes out, for then the test looks.
        self.server.received.append(received)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer

    def _judge(self) -> tuple[int, dict[str, str], bytes]:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return 401, {"WWW-Authenticate": "Bearer"}, b""
        try:
            claims = self.server.verifier.claims(token)
        except jwt.InvalidTokenError:
            return 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'}, b""
        roles = sorted(claims.get("realm_access", {}).get("roles", []))
        body = json.dumps({"client_id": claims["azp"], "roles": roles}).encode()
        return 200, {"Content-Type": "application/json"}, body

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: `received` has it."""
