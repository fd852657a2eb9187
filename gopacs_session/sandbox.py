"""A local authorization server and a protected API, over TLS on loopback, for tests, demos and trying out.

::

    with Sandbox() as sandbox, sandbox.session() as session:
        session.get(sandbox.api_url + "/messages").raise_for_status()

Below ``/realms/`` it answers as Keycloak 26.7 does. Every other path is the API, which tells in JSON what it received,
or refuses as RFC 6750 says (403 for ``/forbidden…``). Needs ``pip install 'gopacs_session[sandbox]'``.
"""

from __future__ import annotations

import base64
import json
import math
import os
import secrets
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import responses
from http.server import BaseHTTPRequestHandler
from itertools import chain, repeat
from time import monotonic, time
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from .environments import Environment
from .exceptions import ConfigurationError
from .session import GopacsSession

REALM = "/realms/gopacs"
TOKEN_PATH = f"{REALM}/protocol/openid-connect/token"
SCOPES = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
WRONG_CREDENTIALS = "Invalid client or Invalid client credentials"
NO_SERVICE_ACCOUNT = "Client not enabled to retrieve service account"

Body = bytes | str | Mapping[str, Any] | None


class _Headers(CaseInsensitiveDict[str]):
    def masked(self, mask: str = "...") -> dict[str, str]:
        return {name: mask if name.lower() == "authorization" else value for name, value in self.items()}

    def __repr__(self) -> str:
        return repr(self.masked())


@dataclass(frozen=True, eq=False)
class Exchange:
    """One request to the sandbox, and what became of it. Its repr shows nothing that may hold a secret.

    Attributes:
        method (str): ``"POST"`` and the like.
        path (str): as it was sent, without the query.
        query (str): what followed the ``?``, as it was sent.
        headers (Mapping[str, str]): by name in any case; the values of a repeated header are joined with commas.
        body (bytes): freed from any chunking.
        started (float): ``time.monotonic()`` of the request's arrival, in seconds.
        status (int): HTTP status of the answer.
        token_number (int | None): which of the tokens issued, counted from 1, the request obtained or bore.
    """

    method: str
    path: str
    query: str = field(repr=False)
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    started: float
    status: int = 0
    token_number: int | None = None

    @property
    def authorization(self) -> str | None:
        """The ``Authorization`` header."""
        return self.headers.get("Authorization")


class _Answer(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str]
    token: object = None  # that it hands out


def _answer(status: int, body: Body = None, headers: Mapping[str, str] | None = None) -> _Answer:
    if isinstance(body, Mapping):
        text, kind, token = json.dumps(body, separators=(",", ":")), "application/json", body.get("access_token")
        return _Answer(status, text.encode(), {"Content-Type": kind, **(headers or {})}, token)
    if isinstance(body, str):
        return _Answer(status, body.encode(), {"Content-Type": "text/html;charset=utf-8", **(headers or {})})
    return _Answer(status, body or b"", headers or {})


def _page(status: int) -> str:
    return f"<!DOCTYPE html><html><body><h1>{status} {responses.get(status, '')}</h1></body></html>"


class _Realm:
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

    def _issue(self, token: str) -> int:
        self._issued += 1
        self._tokens[token] = self._issued, monotonic() + self.token_lifetime
        return self._issued

    def _borne_token(self, request: Exchange) -> tuple[int, float]:
        """Number and expiry of the token that `request` bears; zeros if it was not issued here."""
        scheme, _, token = (request.authorization or "").partition(" ")
        return self._tokens.get(token.strip(), (0, 0.0)) if scheme.lower() == "bearer" else (0, 0.0)

    def _judge_token_request(self, request: Exchange) -> _Answer:
        form: dict[str, list[str]] = {}
        if request.headers.get("Content-Type", "").lower().startswith("application/x-www-form-urlencoded"):
            form = parse_qs(request.body.decode(errors="replace"), keep_blank_values=True)
        status, error, description = self._refusal(request, form) or (200, "", "")
        if status in (404, 405):  # Only here does Keycloak heed the Accept header.
            html = "text/html" in request.headers.get("Accept", "")
            return _answer(status, _page(status) if html else {"error": error})
        body = {"error": error, "error_description": description} if error else self._token_answer(request, form)
        return _answer(status, body, {"Cache-Control": "no-store", "Pragma": "no-cache"})

    def _refusal(self, request: Exchange, form: Mapping[str, list[str]]) -> tuple[int, str, str] | None:
        """Status, error and description as of Keycloak, in the order in which it looks; None if nothing is wrong."""
        path = request.path.rstrip("/")
        names = ("grant_type", "client_id", "client_secret", "scope")
        grant, client, secret, scope = (form[name][0] if name in form else None for name in names)
        known_scope = scope is None or SCOPES.issuperset(scope.split(" "))
        table = (
            (not path.startswith(f"{REALM}/"), 404, "Realm does not exist", ""),
            (path != TOKEN_PATH, 404, "HTTP 404 Not Found", ""),
            (request.method != "POST", 405, "HTTP 405 Method Not Allowed", ""),
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
            answer |= {"refresh_expires_in": 1800, "refresh_token": self._jwt(request), "token_type": "bearer"}
            answer |= {"session_state": secrets.token_urlsafe(18)}
        return answer

    def _jwt(self, request: Exchange) -> str:
        """A token with Keycloak's claims. Its signature is random: the sandbox knows its tokens by heart."""
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

    def _judge_api_request(self, request: Exchange) -> _Answer:
        number, expiry = self._borne_token(request)
        status, error = 200, ""
        if not (request.authorization or "").lower().startswith("bearer "):
            status = 401
        elif number <= self._revoked or expiry <= monotonic():
            status, error = 401, ', error="invalid_token", error_description="Token verification failed"'
        elif request.path.startswith("/forbidden"):
            status, error = 403, ', error="insufficient_scope", error_description="Missing role"'
        if status != 200:
            return _answer(status, None, {"WWW-Authenticate": f'Bearer realm="gopacs"{error}'})
        return _answer(status, _echo(request, number))


def _echo(request: Exchange, token_number: int) -> dict[str, Any]:
    headers = _Headers(request.headers).masked(f"Bearer <token {token_number}>")
    echo = {"method": request.method, "path": request.path, "query": request.query, "headers": headers}
    try:
        return {**echo, "body": request.body.decode()}
    except UnicodeDecodeError:
        return {**echo, "body_base64": base64.b64encode(request.body).decode()}


class _Connection(BaseHTTPRequestHandler):
    """HTTP/1.1 with one client: reads requests, has the server answer them, writes the answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _exchange(self) -> None:
        started, headers = monotonic(), _Headers()
        for name, value in self.headers.items():
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        try:
            size = int(headers.get("Content-Length", 0))
            body = self._chunks() if "Transfer-Encoding" in headers else self._read(size)
        except ValueError:
            self.send_error(400)
            return
        path, _, query = self.path.partition("?")
        request = Exchange(self.command, path, query, headers, body, started)
        try:
            answer = self.server.answer(request)
        except Exception as error:
            self.server.errors.append(error)
            raise ConnectionAbortedError("The sandbox broke down over this request.") from error
        lines = [f"{self.protocol_version} {answer.status} {responses.get(answer.status, '')}"]
        lines += [f"{name}: {value}" for name, value in {"Content-Length": len(answer.body), **answer.headers}.items()]
        content = b"" if self.command == "HEAD" else answer.body
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + content)

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = _exchange

    def _chunks(self) -> bytes:
        """A body by RFC 9112 section 7.1."""
        body = bytearray()
        while size := int(self._line().partition(b";")[0], 16):
            body += self._read(size)
            self._line()
        while self._line():  # trailers
            pass
        return bytes(body)

    def _line(self) -> bytes:
        line = self.rfile.readline(65537)
        return line.strip() if line else self._read(1)

    def _read(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise ConnectionResetError("The client went away in mid-request.")
        return data

    def log_message(self, *args: Any) -> None:
        """Nothing is printed: the sandbox keeps records."""


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread for each TLS connection, all of which end with `close`.

    Args:
        answer: judges a request, in the thread of its connection.
    """

    allow_reuse_address = os.name == "posix"
    request_queue_size = 256

    def __init__(self, port: int, context: ssl.SSLContext, answer: Callable[[Exchange], _Answer]) -> None:
        self.answer = answer
        self.errors: list[BaseException] = []
        self._context = context
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._closing_one = threading.Lock()
        try:
            super().__init__(("127.0.0.1", port), _Connection)
        except OSError as error:
            raise OSError(error.errno, f"The sandbox cannot listen on 127.0.0.1:{port}: {error.strerror}") from None
        self._acceptor = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._acceptor.start()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        # The handshake comes with the first read, so that no client keeps others waiting.
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._connections = {t: connection for t, connection in self._connections.items() if t.is_alive()}
        self._connections[thread] = request
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._closing_one:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if error and not isinstance(error, OSError):  # Clients go away, or do not trust the certificate.
            self.errors.append(error)

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        with self._closing_one:
            for connection in self._connections.values():
                with suppress(OSError):
                    # SSLSocket.shutdown would take the TLS state away under the thread that reads.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in (self._acceptor, *self._connections):
            thread.join()


class _SandboxAdapter(HTTPAdapter):
    """Trusts one CA, and no proxy. REQUESTS_CA_BUNDLE and the proxy variables beat a session's own settings."""

    __attrs__ = [*HTTPAdapter.__attrs__, "_ca_file"]

    def __init__(self, ca_file: str) -> None:
        self._ca_file = ca_file
        super().__init__(pool_maxsize=64)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        return super().send(request, *args, **{**options, "verify": self._ca_file, "proxies": {}})


class Sandbox(_Realm):
    """A context manager that runs the authorization server and the API, for any number of threads.

    Args:
        port: to listen on, at 127.0.0.1; 0 takes a free one.
        token_lifetime: seconds.
        client_id: of the one client that it knows.
        client_secret: of the same; None makes one up.
        on_request: called with each exchange just before its answer goes out, in the thread of its connection.

    Attributes:
        environment (Environment): to make a session for. This and the next two exist once the block is entered.
        api_url (str): without a slash at its end.
        ca_file (str): path of a PEM file with the CA to trust; removed at the end of the block.
        client_id, client_secret (str): what the token endpoint accepts from now on.
        token_lifetime (float): seconds, of tokens to come.
        token_delay (float): seconds that each token request waits for its answer.
        client_enabled, service_account_enabled (bool): as in Keycloak's settings of a client.
        refresh_tokens (bool): whether to answer like the sample in GOPACS's manual, with a refresh token.
        token_requests (list[Exchange]): what came to paths below ``/realms/``; on record before it is answered.
        api_requests (list[Exchange]): what came to other paths; likewise.

    Raises:
        ConfigurationError: on entering; trustme is not installed.
        OSError: on entering; the port is taken.
        Exception: on leaving; what went wrong in a thread of the sandbox, `on_request` included.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        token_lifetime: float = 300,
        client_id: str = "sandbox",
        client_secret: str | None = None,
        on_request: Callable[[Exchange], None] | None = None,
    ) -> None:
        super().__init__(client_id, client_secret or secrets.token_hex(16), token_lifetime)
        self.token_delay = 0.0
        self.token_requests: list[Exchange] = []
        self.api_requests: list[Exchange] = []
        self._port, self._on_request = port, on_request
        self._planned_for_realm: Iterator[_Answer] = iter(())
        self._planned_for_api: Iterator[_Answer] = iter(())
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._gate = threading.Event()
        self._gate.set()

    def __enter__(self) -> Sandbox:
        try:
            import trustme
        except ImportError:
            raise ConfigurationError("The sandbox needs trustme: pip install 'gopacs_session[sandbox]'") from None
        ca, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        with ExitStack() as stack:
            self._server = _Server(self._port, context, self._exchange)
            stack.callback(self._server.close)
            self.ca_file = stack.enter_context(ca.cert_pem.tempfile())
            self.api_url = f"https://localhost:{self._server.server_address[1]}"
            self.environment = Environment("sandbox", f"{self.api_url}{TOKEN_PATH}", ("localhost",))
            self._running = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        self._gate.set()
        self._running.close()
        if self._server.errors:
            raise self._server.errors[0]

    def _exchange(self, request: Exchange) -> _Answer:
        """Judge and record a request; a token request also waits as long as it has been told to."""
        if request.path.startswith("/realms/"):
            with self._changed:
                answer = next(self._planned_for_realm, None) or self._judge_token_request(request)
                number = self._issue(answer.token) if isinstance(answer.token, str) else None
                exchange = replace(request, status=answer.status, token_number=number)
                self.token_requests.append(exchange)
                self._changed.notify_all()
                gate = self._gate
            gate.wait()
            self._closing.wait(self.token_delay)
        else:
            with self._changed:
                answer = next(self._planned_for_api, None) or self._judge_api_request(request)
                exchange = replace(request, status=answer.status, token_number=self._borne_token(request)[0] or None)
                self.api_requests.append(exchange)
        if self._on_request:
            self._on_request(exchange)
        return answer

    def session(self, **options: Any) -> GopacsSession:
        """A session with this client's credentials, to which the user's proxies, CA bundles and netrc do not matter.

        Args:
            options: of :class:`GopacsSession`; they win over the sandbox's.
        """
        own = {"client_id": self.client_id, "client_secret": self.client_secret, "environment": self.environment}
        session = GopacsSession(**{**own, **options})
        self.trust(session)
        return session

    def trust(self, session: requests.Session) -> None:
        """Let any session reach this sandbox directly and trust it, whatever the user's environment says."""
        session.mount(f"{self.api_url}/", _SandboxAdapter(self.ca_file))

    def answer_next_token_requests(
        self, n: float, status: int, *, body: Body = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """Plan the answers to `n` token requests, which follow those planned before.

        Args:
            n: how many; ``math.inf`` for all, 0 to drop what is planned.
            status: of HTTP.
            body: raw, or a page, or a mapping to be sent as JSON, whose ``access_token`` the API will accept. By
                default the page of a proxy if `status` is 429 or 5xx, else nothing.
            headers: by name.
        """
        with self._changed:
            self._planned_for_realm = _plan(self._planned_for_realm, n, status, body, headers)

    def answer_next_api_requests(
        self, n: float, status: int, *, body: Body = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """Plan the answers to `n` API requests, as :meth:`answer_next_token_requests` does to token requests."""
        with self._changed:
            self._planned_for_api = _plan(self._planned_for_api, n, status, body, headers)

    @contextmanager
    def hold_token_requests(self) -> Iterator[None]:
        """Record the token requests that arrive in the block at once, but answer them at its end."""
        gate = threading.Event()
        before, self._gate = self._gate, gate
        try:
            yield
        finally:
            self._gate = before
            gate.set()

    def wait_for_token_requests(self, n: int, timeout: float = 10) -> None:
        """Wait until `n` token requests have arrived in all.

        Args:
            n: length of `token_requests` to wait for.
            timeout: seconds.

        Raises:
            TimeoutError: there were fewer.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.token_requests) >= n, timeout):
                raise TimeoutError(f"{len(self.token_requests)} of {n} token requests arrived within {timeout:g} s.")


def _plan(
    planned: Iterator[_Answer], n: float, status: int, body: Body, headers: Mapping[str, str] | None
) -> Iterator[_Answer]:
    if body is None and (status == 429 or status >= 500):
        body = _page(status)
    answer = _answer(status, body, headers)
    coming = repeat(answer) if n == math.inf else repeat(answer, int(n))
    return chain(planned, coming) if n else iter(())
