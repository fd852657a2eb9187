"""One client credentials exchange (RFC 6749 section 4.4): build the POST, send it, judge the answer, try again."""

from __future__ import annotations

import logging
import random
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeGuard
from urllib.parse import urlsplit

import requests
from oauthlib.oauth2 import BackendApplicationClient
from urllib3.exceptions import HTTPError

from . import clock
from .environments import Environment
from .exceptions import AuthorizationServerError, ConfigurationError, InvalidClientError, TokenRequestError
from .timeouts import Timeout, check_timeout, connect_and_read
from .token_response import json_object, quotable, retry_after_seconds, verdict
from .tracebacks import causes, forget_locals, place, reason
from .transport import CONNECTION_ERRORS, TokenTransport, from_a_signal_handler

log = logging.getLogger("gopacs_session")

Scope = str | list[str] | tuple[str, ...] | set[str] | None
ClientSecret = str | Callable[[], str]

TRIES = 3
LONGEST_PAUSE = 5.0  # seconds
HEADERS = {
    "Accept": "application/json",  # Keycloak answers in HTML to those who prefer it.
    "Accept-Encoding": "identity",
    "Cache-Control": "no-store",  # RFC 9111 section 5.2.1.5: no cache on the way keeps the secret or the token.
    "Content-Type": "application/x-www-form-urlencoded",
}


@dataclass
class ClientCredentialsGrant:
    """A client's credentials, and how to get a token for them.

    Args:
        environment: whose token endpoint is asked.
        client_id: the API client's name.
        client_secret: its key, or a callable without arguments that returns it for each token request.
        scope: scopes to ask for.
        timeout: seconds for one try, or a pair of seconds to connect and to read.
        transport: carries the token requests.

    Raises:
        ConfigurationError: the client's id or secret is empty or malformed.
    """

    environment: Environment
    client_id: str
    client_secret: ClientSecret = field(repr=False)
    scope: Scope
    timeout: Timeout
    transport: TokenTransport

    def __post_init__(self) -> None:
        if not (isinstance(self.client_id, str) and self.client_id.strip()):
            raise ConfigurationError("client_id must be a non-empty string.")
        if not (callable(self.client_secret) or _is_secret(self.client_secret)):
            raise ConfigurationError("client_secret must be a non-empty string, or a callable that returns one.")
        check_scope(self.scope)
        check_timeout("token_timeout", self.timeout)

    @property
    def longest(self) -> float:
        """Seconds that :meth:`request_token` may take: to connect, to wait for an answer, and to read it."""
        connect, read = connect_and_read(self.timeout)
        return TRIES * (connect + 2 * read) + (TRIES - 1) * LONGEST_PAUSE

    def request_token(self) -> tuple[dict[str, Any], float]:
        """The token answer of RFC 6749 section 5.1, and the seconds since it was asked for.

        Raises:
            TokenRequestError: no token could be obtained, with three tries where the cause may pass.
        """
        handled = sys.exc_info()[1]
        attempt = 0
        while True:
            attempt += 1
            asked = clock.monotonic()
            try:
                outcome, may_pass = self._try()
            except BaseException as error:
                forget_locals(error, handled)
                raise
            if not isinstance(outcome, TokenRequestError):
                return outcome, clock.monotonic() - asked
            if attempt == TRIES or not may_pass:
                raise outcome
            pause = _pause(attempt, outcome.retry_after)
            log.warning("%s Try %d of %d in %.1f s.", outcome, attempt + 1, TRIES, pause)
            clock.sleep(pause)

    def _try(self) -> tuple[dict[str, Any] | TokenRequestError, bool]:
        """One try, and whether another may do better. An error is returned: if raised, it would refer to the form."""
        secret = self.client_secret if isinstance(self.client_secret, str) else self._ask(self.client_secret)
        secret = secret.removesuffix("\n").removesuffix("\r")  # as files end
        started = perf_counter()
        try:
            response = self.transport.send(self._token_request(secret), self.timeout)
        except Exception as error:  # noqa: BLE001 - a mounted adapter may raise anything
            failure = error
        else:
            answer = json_object(response.content)
            fault = verdict(response.status_code, answer)
            return (answer, False) if fault is None else self._refused(response, answer, *fault, secret)
        # Here, since an exception that is raised while another is handled keeps that one as its context.
        callers = from_a_signal_handler(failure, perf_counter() - started, self.timeout)
        if callers is not None:
            raise callers
        return self._undelivered(failure, secret)

    def _ask(self, callable_secret: Callable[[], str]) -> str:
        try:
            secret = callable_secret()
        except Exception as error:  # noqa: BLE001 - it is the user's code
            fault = f"raised {place(error)}"
        else:
            if _is_secret(secret):
                return secret
            fault = "returned no non-empty string"
        raise TokenRequestError(self._message(f"the client_secret callable {fault}."))

    def _token_request(self, secret: str) -> requests.PreparedRequest:
        # A fresh client: oauthlib's keeps the state of earlier answers.
        form = BackendApplicationClient(self.client_id).prepare_request_body(
            scope=self.scope,  # type: ignore[arg-type]  # The stub knows no list[str].
            include_client_id=True,
            client_secret=secret,
        )
        return requests.Request("POST", self.environment.token_url, data=form, headers=HEADERS).prepare()

    def _undelivered(self, error: Exception, secret: str) -> tuple[TokenRequestError, bool]:
        # Only words of requests and of the system are worth quoting, and an adapter may have put the form into them.
        # An InvalidURL is a proxy's, and its words may hold the proxy's password.
        tells = isinstance(error, (OSError, HTTPError)) and not isinstance(error, requests.exceptions.InvalidURL)
        name, words = type(error).__name__, reason(error)
        said = quotable(f"{name}: {words}", secret) if tells else name
        host = urlsplit(self.environment.token_url).netloc
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes(error)):
            text = (
                f"the certificate of {host} is not trusted ({said}). Have REQUESTS_CA_BUNDLE or session.verify name "
                "the CA bundle to trust; gopacs-session check tells more."
            )
            return AuthorizationServerError(self._message(text)), False
        if isinstance(error, CONNECTION_ERRORS):
            text = f"{host} is out of reach ({said}). Check network, proxy and CA bundle."
            # Wrong credentials for the proxy stay wrong, and repeating them may lock an account.
            return AuthorizationServerError(self._message(text)), "Tunnel connection failed: 407" not in words
        return TokenRequestError(self._message(f"the token request could not be sent ({said}).")), False

    def _refused(
        self, response: requests.Response, answer: dict[str, Any], kind: type[TokenRequestError], text: str, secret: str
    ) -> tuple[TokenRequestError, bool]:
        retry_after = retry_after_seconds(response.headers.get("Retry-After"))
        if retry_after is not None:
            text += f" It asks to wait {retry_after:.0f} s."
        if kind is InvalidClientError and secret.split() != [secret]:
            text += " There is white space in the secret: was it copied as it is?"
        error = kind(
            self._message(text),
            status_code=response.status_code,
            error=quotable(answer.get("error"), secret),
            description=quotable(answer.get("error_description"), secret),
            retry_after=retry_after,
        )
        return error, kind is AuthorizationServerError and (retry_after is None or retry_after <= LONGEST_PAUSE)

    def _message(self, text: str) -> str:
        return f"No access token for {self.environment.name}: {text}"


def check_scope(scope: object) -> None:
    """Raise :class:`ConfigurationError` unless it is a :data:`Scope`."""
    parts = scope if isinstance(scope, (list, tuple, set)) else (scope,)
    if scope is not None and not all(isinstance(part, str) for part in parts):
        raise ConfigurationError("scope must be a string, or a list of strings.")


def _pause(attempt: int, retry_after: float | None) -> float:
    """Seconds before the next try: what the server asks for, else backoff with jitter."""
    if retry_after is not None:
        return retry_after
    return random.uniform(0.5, 1.0) * 0.5 * 2.0 ** (attempt - 1)  # noqa: S311 - no cryptography


def _is_secret(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.strip() != ""
