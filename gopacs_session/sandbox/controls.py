"""What a test controls: a sandbox's start and end, its switches, the planned answers, and the records."""

import math
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import chain, repeat
from typing import Any

import requests
import trustme

from ..environments import Environment
from ..session import GopacsSession
from .https import Answer, Body, Exchange, Headers, SandboxAdapter, Server, make_answer
from .realm import TOKEN_PATH, Realm


def environment_at(port: int, ca_file: str) -> Environment:
    """The environment of a sandbox that listens on this port, and has the CA in this file."""
    return Environment("sandbox", f"https://localhost:{port}{TOKEN_PATH}", ("localhost",), ca_bundle=ca_file)


def variables(client_id: str, environment: Environment) -> dict[str, str]:
    """The environment variables, but for the secret, that name this client and this environment."""
    values = {"TOKEN_URL": environment.token_url, "API_DOMAINS": ",".join(environment.api_domains)}
    values |= {"CLIENT_ID": client_id, "CA_BUNDLE": str(environment.ca_bundle)}
    return {f"GOPACS_{name}": value for name, value in values.items()}


class Sandbox(Realm):
    """A context manager that runs the authorization server and the API, for any number of threads.

    Args:
        port: to listen on, at 127.0.0.1; 0 takes a free one.
        token_lifetime: seconds.
        client_id, client_secret: of the one client that it knows; None makes a secret up.
        ca_file: for the certificate of the CA, a new one for each block; None makes a file that lasts as long.
        on_request: called with each exchange just before its answer goes out, in any of the sandbox's threads.

    Attributes:
        client_id, client_secret, token_lifetime: as above; they can be changed at any time.
        token_delay (float): seconds that each token request waits for its answer.
        client_enabled, service_account_enabled (bool): as in Keycloak's settings of a client.
        token_requests, api_requests (list[Exchange]): what came to paths below ``/realms/``, and to others; on record
            before it is answered. A sandbox that runs for long clears them in `on_request`.

    Raises:
        OSError: on entering, where the port is taken, or the CA's file can't be written.
        Exception: on leaving, what went wrong in a thread of the sandbox, `on_request` included.
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
        self._token_plan: Iterator[Answer] = iter(())
        self._api_plan: Iterator[Answer] = iter(())
        self._environment: Environment | None = None
        self._changed = threading.Condition()
        self._holds, self._closing = 0, False

    def __enter__(self) -> "Sandbox":
        authority = trustme.CA()  # Its key is never written to a disk.
        self._closing = False
        with ExitStack() as stack:
            self._server = stack.enter_context(closing(Server(self._port, authority, self._answer)))
            ca_file = self._chosen_ca_file or stack.enter_context(authority.cert_pem.tempfile())
            authority.cert_pem.write_to_path(ca_file)
            self._environment = environment_at(self._server.port, os.path.abspath(ca_file))
            self._running = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
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

    def _answer(self, exchange: Exchange) -> Answer:
        """Judge and record a request; a token request also waits if it is held or delayed."""
        concerns_token = exchange.is_token_request
        with self._changed:
            answer = self.judge(exchange, next(self._token_plan if concerns_token else self._api_plan, None))
            exchange.status = answer.status
            (self.token_requests if concerns_token else self.api_requests).append(exchange)
            self._changed.notify_all()
            if concerns_token:
                self._changed.wait_for(lambda: self._closing or not self._holds)
                self._changed.wait_for(lambda: self._closing, self.token_delay)
        if self._on_request:
            self._on_request(exchange)
        return answer

    def session(self, **options: Any) -> GopacsSession:
        """A session with this client's credentials and these options, which no proxy, CA bundle or netrc diverts."""
        own = {"client_id": self.client_id, "client_secret": self.client_secret, "environment": self.environment}
        session = GopacsSession(**{**own, **options})
        session.trust_env = False
        return session

    def trust(self, session: requests.Session) -> None:
        """Let any session reach this sandbox directly and trust it, whatever the user's environment says."""
        adapter = SandboxAdapter(pool_maxsize=64)
        adapter.ca_file = self.ca_file
        session.mount(f"{self.api_url}/", adapter)

    def answer_next_token_requests(self, n: float, status: int, *, body: Body = None, headers: Headers = None) -> None:
        """Plan the answers to `n` token requests, after those planned before: ``math.inf`` for all, 0 drops the plan.

        A `body` is raw, a page in HTML, or a mapping to be sent as JSON, whose ``access_token`` the API will accept.
        A `status` outside 100 to 599 is a ValueError.
        """
        self._token_plan = _planned(self._token_plan, n, make_answer(status, body, headers))

    def answer_next_api_requests(self, n: float, status: int, *, body: Body = None, headers: Headers = None) -> None:
        """Plan the answers to `n` API requests, as :meth:`answer_next_token_requests` does to token requests."""
        self._api_plan = _planned(self._api_plan, n, make_answer(status, body, headers))

    @contextmanager
    def hold_token_requests(self) -> Iterator[None]:
        """Record the token requests that arrive in the block at once, but answer them at its end."""
        self._holds += 1
        try:
            yield
        finally:
            with self._changed:
                self._holds -= 1
                self._changed.notify_all()

    def wait_for_token_requests(self, n: int, timeout: float = 10) -> None:
        """Wait until there are `n` token requests in all; a TimeoutError if there are fewer after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.token_requests) >= n, timeout):
                raise TimeoutError(f"{len(self.token_requests)} of {n} token requests arrived within {timeout:g} s.")


def _planned(plan: Iterator[Answer], n: float, answer: Answer) -> Iterator[Answer]:
    if not 100 <= answer.status <= 599:
        raise ValueError(f"There is no HTTP status {answer.status}: give the number of requests first, then a status.")
    return chain(plan, repeat(answer) if n == math.inf else repeat(answer, int(n))) if n else iter(())
