"""What a test controls: a sandbox's start and end, its switches, the planned answers, and the records."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import requests

from ..environments import Environment
from ..session import GopacsSession
from .exchange import Answer, Body, Exchange, make_answer, page
from .plan import Plan
from .realm import REALMS, TOKEN_PATH, Realm
from .server import Server
from .trust import Authority, SandboxAdapter


def environment_at(port: int, ca_file: str) -> Environment:
    """The environment of a sandbox that listens on this port, and has the CA in this file."""
    return Environment("sandbox", f"https://localhost:{port}{TOKEN_PATH}", ("localhost",), ca_bundle=ca_file)


class Sandbox(Realm):
    """A context manager that runs the authorization server and the API, for any number of threads.

    Args:
        port: to listen on, at 127.0.0.1; 0 takes a free one.
        token_lifetime: seconds.
        client_id: of the one client that it knows.
        client_secret: of the same; None makes one up.
        ca_file: where to put the certificate of the CA, a new one for each block; None makes a temporary file, which is
            removed at the end of the block.
        on_request: called with each exchange just before its answer goes out, in the thread of its connection.

    Attributes:
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
        OSError: on entering; the port is taken, or the CA's file can't be written.
        RuntimeError: something was asked of a sandbox that has not been entered.
        Exception: on leaving; what went wrong in a thread of the sandbox, `on_request` included.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        token_lifetime: float = 300,
        client_id: str = "sandbox",
        client_secret: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        on_request: Callable[[Exchange], None] | None = None,
    ) -> None:
        super().__init__(client_id, client_secret or secrets.token_hex(16), token_lifetime)
        self.token_delay = 0.0
        self.token_requests: list[Exchange] = []
        self.api_requests: list[Exchange] = []
        self._port, self._chosen_ca_file, self._on_request = port, ca_file, on_request
        self._token_plan, self._api_plan = Plan(), Plan()
        self._environment: Environment | None = None
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._gate = threading.Event()
        self._gate.set()

    def __enter__(self) -> Sandbox:
        authority = Authority()
        self._closing.clear()
        with ExitStack() as stack:
            self._server = Server(self._port, authority.server_context(), self._answer)
            stack.callback(self._server.close)
            ca_file = stack.enter_context(authority.file(self._chosen_ca_file))
            self._environment = environment_at(self._server.server_address[1], ca_file)
            self._running = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        self._gate.set()
        self._running.close()
        if self._server.errors:
            raise self._server.errors[0]

    @property
    def environment(self) -> Environment:
        """To make a session for. Its ``ca_bundle`` is `ca_file`."""
        if self._environment is None:
            raise RuntimeError("The sandbox is not running: use it in a block, `with Sandbox() as sandbox:`.")
        return self._environment

    @property
    def api_url(self) -> str:
        """The API's base URL, without a slash at its end."""
        return self.environment.token_url.removesuffix(TOKEN_PATH)

    @property
    def ca_file(self) -> str:
        """Path of a PEM file with the CA to trust."""
        return str(self.environment.ca_bundle)

    def _answer(self, request: Exchange) -> Answer:
        """Judge and record a request; a token request also waits if it is held or delayed."""
        concerns_realm = request.path.startswith(REALMS)
        with self._changed:
            plan = self._token_plan if concerns_realm else self._api_plan
            answer, exchange = self.judge(request, plan.next())
            (self.token_requests if concerns_realm else self.api_requests).append(exchange)
            self._changed.notify_all()
            gate = self._gate
        if concerns_realm:
            gate.wait()
            self._closing.wait(self.token_delay)
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
            self._token_plan.add(_planned(status, body, headers), n)

    def answer_next_api_requests(
        self, n: float, status: int, *, body: Body = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """Plan the answers to `n` API requests, as :meth:`answer_next_token_requests` does to token requests."""
        with self._changed:
            self._api_plan.add(_planned(status, body, headers), n)

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


def _planned(status: int, body: Body, headers: Mapping[str, str] | None) -> Answer:
    if body is None and (status == 429 or status >= 500):
        body = page(status)
    return make_answer(status, body, headers)
