"""One client credentials exchange (RFC 6749 section 4.4): build the POST, send it, judge the answer, try again."""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from time import perf_counter, sleep
from typing import Any, TypeGuard

import requests
from oauthlib.oauth2 import BackendApplicationClient
from requests.cookies import RequestsCookieJar

from .environments import Environment
from .exceptions import AuthorizationServerError, ConfigurationError, TokenRequestError
from .token_response import json_object, lifetime, quotable, retry_after_seconds, verdict

log = logging.getLogger("gopacs_session")

Timeout = float | tuple[float, float]
Send = Callable[[requests.PreparedRequest], requests.Response]
Scope = str | list[str] | tuple[str, ...] | set[str] | None

TRIES = 3
TRANSIENT = frozenset({None, 429, 500, 502, 503, 504})  # None: no answer at all.
LONGEST_PAUSE = 5.0
CONNECTION_ERRORS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
CHUNK, CHUNKS = 65536, 16  # An answer of more than 1 MiB is none: it is cut, and so no JSON any more.
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
        self, session: requests.Session, client_id: str, scope: Scope = None, timeout: Timeout = 10
    ) -> dict[str, Any]:
        """The token answer of RFC 6749 section 5.1.

        Args:
            session: its adapters, proxies and TLS settings carry the request, and nothing else of it.
            client_id: the API client's name.
            scope: scopes to ask for.
            timeout: seconds for one try, or a pair of seconds to connect and to read.

        Raises:
            TokenRequestError: there is none, after three tries where the cause may pass.
        """
        started = perf_counter()
        send = partial(_send, session, timeout)
        outcome = self._exchange(send, client_id, scope)
        for attempt in range(1, TRIES):
            if not _may_pass(outcome):
                break
            pause = _pause(attempt, outcome.retry_after)
            log.warning("%s Try %d of %d in %.1f s.", outcome, attempt + 1, TRIES, pause)
            sleep(pause)
            outcome = self._exchange(send, client_id, scope)
        if isinstance(outcome, TokenRequestError):
            raise outcome
        log.debug(
            "Token obtained: environment %s, client_id %s, life %.0f s, in %.3f s.",
            self.environment.name, client_id, lifetime(outcome.get("expires_in")), perf_counter() - started,
        )  # fmt: skip
        return outcome

    def _exchange(self, send: Send, client_id: str, scope: Scope) -> dict[str, Any] | TokenRequestError:
        """One try. An error is returned, not raised: requests' exceptions would hang on it, and the form on them."""
        secret = self._secret()
        try:
            with send(self._token_request(client_id, secret, scope)) as response:
                body = b"".join(islice(response.iter_content(CHUNK), CHUNKS))
        except Exception as error:  # noqa: BLE001 - a mounted adapter may raise anything
            return self._undelivered(error)
        return self._judge(response, body, secret)

    def _secret(self) -> str:
        if isinstance(self.client_secret, str):
            return self.client_secret
        try:
            secret = self.client_secret()
        except Exception as error:  # noqa: BLE001 - it is the user's code
            reason = type(error).__name__
        else:
            if _is_secret(secret):
                return secret
            reason = "not a non-empty string"
        raise TokenRequestError(self._message(f"the client_secret callable gave no secret ({reason})."))

    def _token_request(self, client_id: str, secret: str, scope: Scope) -> requests.PreparedRequest:
        # A fresh client: oauthlib's keeps the state of earlier answers.
        form = BackendApplicationClient(client_id).prepare_request_body(
            scope=scope,  # type: ignore[arg-type]  # The stub knows no list[str].
            include_client_id=True,
            client_secret=secret,
        )
        return requests.Request("POST", self.environment.token_url, data=form, headers=HEADERS).prepare()

    def _undelivered(self, error: Exception) -> TokenRequestError:
        if isinstance(error, CONNECTION_ERRORS):
            text = f"the authorization server is out of reach ({_reason(error)}). Check network, proxy and CA bundle."
            return AuthorizationServerError(self._message(text))
        # A text that requests or the system did not write might quote the form.
        reason = _reason(error) if isinstance(error, OSError) else type(error).__name__
        return TokenRequestError(self._message(f"the token request could not be sent ({reason})."))

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


def _send(session: requests.Session, timeout: Timeout, request: requests.PreparedRequest) -> requests.Response:
    # A copy, so that cookies of the token endpoint do not come back with the user's requests.
    transport = copy.copy(session)
    transport.cookies = RequestsCookieJar()
    settings = transport.merge_environment_settings(str(request.url), {}, True, None, None)
    # A redirect, 307 above all, would carry the secret to another place.
    return transport.send(request, timeout=timeout, allow_redirects=False, **settings)


def _reason(error: BaseException) -> str:
    """Name of an exception, and words of what caused it: requests wraps urllib3, which wraps the system."""
    cause = error
    while True:
        inner = [part for part in (getattr(cause, "reason", None), *cause.args) if isinstance(part, BaseException)]
        if not inner:
            return f"{type(error).__name__}: {cause}"
        cause = inner[0]


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
