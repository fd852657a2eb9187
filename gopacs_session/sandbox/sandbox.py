"""The sandbox itself: a realm and an API behind one server, with records and switches for tests."""

from __future__ import annotations

import math
import secrets
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain, repeat
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from ..environments import Environment
from ..exceptions import ConfigurationError
from ..session import GopacsSession
from .exchange import Answer, Body, Exchange, make_answer, page
from .realm import TOKEN_PATH, Realm
from .server import Server


class SandboxAdapter(HTTPAdapter):
    """Trusts one CA, and no proxy. REQUESTS_CA_BUNDLE and the proxy variables beat a session's own settings."""

    __attrs__ = [*HTTPAdapter.__attrs__, "_ca_file"]

    def __init__(self, ca_file: str) -> None:
        self._ca_file = ca_file
        super().__init__(pool_maxsize=64)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        return super().send(request, *args, **{**options, "verify": self._ca_file, "proxies": {}})


class Sandbox(Realm):
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
        client_id (str): what the token endpoint accepts from now on.
        client_secret (str): likewise.
        token_lifetime (float): seconds, of tokens to come.
        token_delay (float): seconds that each token request waits for its answer.
        client_enabled (bool): as in Keycloak's settings of a client.
        service_account_enabled (bool): likewise.
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
        self._planned_for_realm: Iterator[Answer] = iter(())
        self._planned_for_api: Iterator[Answer] = iter(())
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
            self._server = Server(self._port, context, self._exchange)
            stack.callback(self._server.close)
            self.ca_file = stack.enter_context(ca.cert_pem.tempfile())
            self.api_url = f"https://localhost:{self._server.server_address[1]}"
            self.environment = Environment(
                "sandbox", f"{self.api_url}{TOKEN_PATH}", ("localhost",), ca_bundle=self.ca_file
            )
            self._running = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        self._gate.set()
        self._running.close()
        if self._server.errors:
            raise self._server.errors[0]

    def _exchange(self, request: Exchange) -> Answer:
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
        """A session with this client's credentials, whose `trust_env` is off.

        So proxies, CA bundles and netrc of the machine do not matter. What is set on the session itself does, as ever:
        adapters, ``proxies``, ``verify``.

        Args:
            options: of :class:`~gopacs_session.GopacsSession`; they win over the sandbox's.
        """
        own = {"client_id": self.client_id, "client_secret": self.client_secret, "environment": self.environment}
        session = GopacsSession(**{**own, **options})
        session.trust_env = False
        return session

    def trust(self, session: requests.Session) -> None:
        """Let any session reach this sandbox directly and trust it, whatever the user's environment says."""
        session.mount(f"{self.api_url}/", SandboxAdapter(self.ca_file))

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
    planned: Iterator[Answer], n: float, status: int, body: Body, headers: Mapping[str, str] | None
) -> Iterator[Answer]:
    if body is None and (status == 429 or status >= 500):
        body = page(status)
    answer = make_answer(status, body, headers)
    coming = repeat(answer) if n == math.inf else repeat(answer, int(n))
    return chain(planned, coming) if n else iter(())
