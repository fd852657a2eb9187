"""One client credentials exchange (RFC 6749 section 4.4): build the POST, send it, judge the answer, try again."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter, sleep
from typing import Any, TypeGuard

import requests
from oauthlib.oauth2 import BackendApplicationClient

from .causes import reason
from .environments import Environment
from .exceptions import AuthorizationServerError, ConfigurationError, TokenRequestError
from .timeouts import Timeout, connect_and_read
from .token_response import json_object, lifetime, quotable, retry_after_seconds, verdict
from .transport import CONNECTION_ERRORS, read, send

log = logging.getLogger("gopacs_session")

Scope = str | list[str] | tuple[str, ...] | set[str] | None

TRIES = 3
TRANSIENT = frozenset({None, 429, 500, 502, 503, 504})  # None: no answer at all.
LONGEST_PAUSE = 5.0
HEADERS = {
    "Accept": "application/json",  # Keycloak answers in HTML to those who prefer it.
    "Cache-Control": "no-store",  # RFC 9111 section 5.2.1.5: no cache on the way keeps the secret or the token.
    "Content-Type": "application/x-www-form-urlencoded",
}


@dataclass
class ClientCredentialsGrant:
    """A client's credentials, and how to get a token for them.

    Args:
        environment: whose token endpoint is asked.
        client_secret: the secret, or a callable without arguments that returns it for each token request.
    """

    environment: Environment
    client_secret: str | Callable[[], str] = field(repr=False)

    def __post_init__(self) -> None:
        if not (callable(self.client_secret) or _is_secret(self.client_secret)):
            raise ConfigurationError("client_secret must be a non-empty string, or a callable that returns one.")

    def request_token(
        self, session: requests.Session, client_id: str | None, scope: Scope = None, timeout: Timeout = 10
    ) -> tuple[dict[str, Any], float]:
        """The token answer of RFC 6749 section 5.1, and the seconds since it was asked for.

        Args:
            session: its adapters, proxies and TLS settings carry the request, and nothing else of it.
            client_id: the API client's name.
            scope: scopes to ask for.
            timeout: seconds for one try, or a pair of seconds to connect and to read.

        Raises:
            TokenRequestError: there is none, after three tries where the cause may pass.
        """
        if not client_id:
            raise TokenRequestError(self._message("the session has lost its client_id."))
        started = perf_counter()
        outcome = self._exchange(session, client_id, scope, timeout)
        for attempt in range(1, TRIES):
            if not _may_pass(outcome):
                break
            pause = _pause(attempt, outcome.retry_after)
            log.warning("%s Try %d of %d in %.1f s.", outcome, attempt + 1, TRIES, pause)
            sleep(pause)
            started = perf_counter()
            outcome = self._exchange(session, client_id, scope, timeout)
        if isinstance(outcome, TokenRequestError):
            raise outcome
        age = perf_counter() - started
        log.debug(
            "Token obtained: environment %s, client_id %s, life %.0f s, in %.3f s.",
            self.environment.name, client_id, lifetime(outcome.get("expires_in")), age,
        )  # fmt: skip
        return outcome, age

    def _exchange(
        self, session: requests.Session, client_id: str, scope: Scope, timeout: Timeout
    ) -> dict[str, Any] | TokenRequestError:
        """One try. An error is returned, not raised: requests' exceptions would hang on it, and the form on them."""
        secret = self._secret()
        try:
            with send(session, self._token_request(client_id, secret, scope), timeout) as response:
                body = read(response, connect_and_read(timeout)[1])
        except Exception as error:  # noqa: BLE001 - a mounted adapter may raise anything
            failure = error
        else:
            return self._judge(response, body, secret)
        # Here, since an exception that is raised while another is handled keeps that one as its context.
        return self._undelivered(failure, secret)

    def _secret(self) -> str:
        if isinstance(self.client_secret, str):
            return self.client_secret
        try:
            secret = self.client_secret()
        except Exception as error:  # noqa: BLE001 - it is the user's code
            fault = type(error).__name__
        else:
            if _is_secret(secret):
                return secret
            del secret  # It may be one all the same, in bytes say, and tracebacks can show what a function holds.
            fault = "not a non-empty string"
        raise TokenRequestError(self._message(f"the client_secret callable gave no secret ({fault})."))

    def _token_request(self, client_id: str, secret: str, scope: Scope) -> requests.PreparedRequest:
        # A fresh client: oauthlib's keeps the state of earlier answers.
        form = BackendApplicationClient(client_id).prepare_request_body(
            scope=scope,  # type: ignore[arg-type]  # The stub knows no list[str].
            include_client_id=True,
            client_secret=secret,
        )
        return requests.Request("POST", self.environment.token_url, data=form, headers=HEADERS).prepare()

    def _undelivered(self, error: Exception, secret: str) -> TokenRequestError:
        # Only words of requests and of the system are worth quoting, and an adapter may have put the form into them.
        # An InvalidURL is a proxy's, and its words may hold the proxy's password.
        tells = isinstance(error, OSError) and not isinstance(error, requests.exceptions.InvalidURL)
        name = type(error).__name__
        words = quotable(f"{name}: {reason(error)}", secret) if tells else name
        if isinstance(error, CONNECTION_ERRORS):
            text = f"the authorization server is out of reach ({words}). Check network, proxy and CA bundle."
            return AuthorizationServerError(self._message(text))
        return TokenRequestError(self._message(f"the token request could not be sent ({words})."))

    def _judge(self, response: requests.Response, body: bytes, secret: str) -> dict[str, Any] | TokenRequestError:
        answer = json_object(body)
        fault = verdict(response.status_code, answer)
        if fault is None:
            return answer
        kind, text = fault
        return kind(
            self._message(text),
            status_code=response.status_code,
            error=quotable(answer.get("error"), secret),
            description=quotable(answer.get("error_description"), secret),
            retry_after=retry_after_seconds(response.headers.get("Retry-After")),
        )

    def _message(self, text: str) -> str:
        return f"No access token for {self.environment.name}: {text}"


def longest_renewal(timeout: Timeout) -> float:
    """Seconds that :meth:`ClientCredentialsGrant.request_token` may take: to connect, to hear, and to read."""
    connect, read = connect_and_read(timeout)
    return TRIES * (connect + 2 * read) + (TRIES - 1) * LONGEST_PAUSE


def _may_pass(outcome: object) -> TypeGuard[AuthorizationServerError]:
    """Whether it is a failure that another try may not meet."""
    return isinstance(outcome, AuthorizationServerError) and outcome.status_code in TRANSIENT


def _pause(attempt: int, retry_after: float | None) -> float:
    """Seconds before the next try: as long as the server asks, within reason, else backoff with jitter."""
    if retry_after is not None:
        return min(retry_after, LONGEST_PAUSE)
    return random.uniform(0.5, 1.0) * 0.5 * 2.0 ** (attempt - 1)  # noqa: S311 - no cryptography


def _is_secret(value: object) -> bool:
    return isinstance(value, str) and value.strip() != ""
