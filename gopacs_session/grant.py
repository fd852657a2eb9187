"""One client credentials exchange (RFC 6749 section 4.4): send the form, judge the answer, try again."""

import json
import logging
import random
import re
import ssl
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime
from functools import partial
from io import BytesIO
from time import perf_counter
from typing import Any, TypeGuard
from urllib.parse import quote_plus, urlsplit

import requests
import urllib3
from oauthlib.oauth2 import BackendApplicationClient
from requests import Response

from . import clock
from .environments import Environment
from .exceptions import AuthorizationServerError, ConfigurationError, InvalidClientError, TokenRequestError, causes, why
from .timeouts import Timeout, check_timeout
from .tokens import LONGEST_LIFE, Token, is_bearer

log = logging.getLogger("gopacs_session")

Scope = str | list[str] | tuple[str, ...] | set[str] | None
ClientSecret = str | Callable[[], str]

TRIES = 3
LONGEST_PAUSE = 5.0  # seconds
LONGEST_ANSWER, CHUNK = 1 << 20, 16384  # bytes
HEADERS = {
    "Accept": "application/json",  # Keycloak answers in HTML to those who prefer it.
    "Accept-Encoding": "identity",  # Decoded, an answer of any size would fit into a megabyte.
    "Cache-Control": "no-store",  # RFC 9111 section 5.2.1.5: no cache on the way keeps the secret or the token.
    "Content-Type": "application/x-www-form-urlencoded",
}


@dataclass
class ClientCredentialsGrant:
    """A client's credentials, and how to get a token for them by a session's adapters, proxies and TLS settings."""

    environment: Environment
    client_id: str
    client_secret: ClientSecret = field(repr=False)
    scope: Scope
    timeout: Timeout
    session: requests.Session

    def __post_init__(self) -> None:
        if not _is_text(self.client_id):
            raise ConfigurationError("client_id must be a non-empty string.")
        if not (callable(self.client_secret) or _is_text(self.client_secret)):
            raise ConfigurationError("client_secret must be a non-empty string, or a callable that returns one.")
        if not isinstance(self.scope, (str, list, tuple, set, type(None))):
            raise ConfigurationError("scope must be a string, or a list of strings.")
        check_timeout("token_timeout", self.timeout)
        connect, self.read_timeout = self.timeout if isinstance(self.timeout, tuple) else (self.timeout, self.timeout)
        # Seconds that fetch may take: to connect, to wait for an answer, and to read it.
        self.longest = TRIES * (connect + 2 * self.read_timeout) + (TRIES - 1) * LONGEST_PAUSE

    def fetch(self) -> Token:
        """A new token, with three tries where the fault may pass; or :class:`TokenRequestError`."""
        attempt = 0
        while True:
            attempt += 1
            outcome, may_pass = self._exchange()
            if isinstance(outcome, Token):
                return outcome
            if attempt == TRIES or not may_pass:
                raise outcome
            backoff = random.uniform(0.5, 1.0) * 0.5 * 2.0 ** (attempt - 1)  # noqa: S311 - no cryptography
            pause = max(backoff, outcome.retry_after or 0.0)
            log.warning("%s Try %d of %d in %.1f s.", outcome, attempt + 1, TRIES, pause)
            clock.sleep(pause)

    def _exchange(self) -> tuple[Token | TokenRequestError, bool]:
        """One try: a token, or what went wrong and whether it may pass."""
        secret = self.client_secret if isinstance(self.client_secret, str) else self.client_secret()
        if not _is_text(secret):
            return self._failure("the client_secret callable returned no string, or an empty one."), False
        secret, asked_at = secret.rstrip("\r\n"), clock.time()
        try:
            response = self._post(secret)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            # Returned, to be raised elsewhere: what is raised here would refer to this one, and so to the form.
            return self._undelivered(error)
        answer = _json_object(response.content)
        if response.status_code == 200 and not answer.get("error") and is_bearer(answer):
            log.debug("Token for %s obtained: %s.", self.client_id, self.environment.name)
            return Token(answer, asked_at), False
        failure = self._refused(response, answer, secret)
        return failure, isinstance(failure, AuthorizationServerError) and (failure.retry_after or 0.0) <= LONGEST_PAUSE

    def _post(self, secret: str) -> Response:
        # A fresh client: oauthlib's keeps the state of earlier answers.
        form = BackendApplicationClient(self.client_id).prepare_request_body(
            scope=self.scope,  # type: ignore[arg-type]  # The stub knows no list[str].
            include_client_id=True,
            client_secret=secret,
        )
        request = requests.Request("POST", self.environment.token_url, data=form, headers=HEADERS).prepare()
        # By a hook: before anybody, such as a wrapper of send, follows a 307 with the secret, or keeps a cookie.
        request.register_hook("response", partial(_read, seconds=self.read_timeout))
        session = self.session
        verify = self.environment.ca_bundle if session.verify is True else None
        settings = session.merge_environment_settings(str(request.url), {}, True, verify, None)
        return session.send(request, timeout=self.timeout, allow_redirects=False, **settings)

    def _undelivered(self, error: Exception) -> tuple[TokenRequestError, bool]:
        host, name, words = urlsplit(self.environment.token_url).netloc, type(error).__name__, why(error)
        said = name if words == name else f"{name}: {words}"
        wrapped = list(causes(error))
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in wrapped):
            text = f"the certificate of {host} is not trusted ({said}). Have GOPACS_CA_BUNDLE, REQUESTS_CA_BUNDLE or "
            text += "session.verify name the CA bundle to trust; gopacs-session check says more."
            return self._failure(text, AuthorizationServerError), False
        # OpenSSL's error while it loads certificates, and requests' own for a file that does not exist.
        if type(error) is OSError or any(getattr(cause, "library", None) == "X509" for cause in wrapped):
            text = f"the CA bundle, or the client certificate, can't be loaded ({said}). Check GOPACS_CA_BUNDLE, "
            return self._failure(f"{text}REQUESTS_CA_BUNDLE, session.verify and session.cert."), False
        if isinstance(error, ValueError):
            text = f"the token request could not be sent ({said}). Check the proxy's URL; SOCKS needs requests[socks]."
            return self._failure(text), False
        text = f"{host} is out of reach ({said}). Check network, proxy and CA bundle."
        # Wrong credentials for the proxy stay wrong, and repeating them may lock an account.
        return self._failure(text, AuthorizationServerError), words != "the proxy answered 407"

    def _refused(self, response: Response, answer: dict[str, Any], secret: str) -> TokenRequestError:
        status, error = response.status_code, _quotable(answer.get("error"), secret)
        kind, text = _verdict(status, error, str(response.url))
        if kind is InvalidClientError:
            text += _white_space("client id", self.client_id) + _white_space("secret", secret)
        seconds = _retry_after(response.headers.get("Retry-After", ""))
        if seconds is not None:
            text += f" It asks to wait {seconds:.0f} s."
        description = _quotable(answer.get("error_description"), secret)
        facts = {"status_code": status, "error": error, "description": description, "retry_after": seconds}
        return self._failure(text, kind, **facts)

    def _failure(self, text: str, kind: type[TokenRequestError] = TokenRequestError, **facts: Any) -> TokenRequestError:
        return kind(f"No access token for {self.environment.name}: {text}", **facts)


def _verdict(status: int, error: str | None, url: str) -> tuple[type[TokenRequestError], str]:
    """What is wrong with an answer of the token endpoint that brings no token (RFC 6749 section 5.2)."""
    if status in (408, 425, 429) or status >= 500:
        return AuthorizationServerError, f"the authorization server answered {status}; try again later."
    # 401 is for the client's authentication, also where Keycloak disabled its service account.
    if error in ("invalid_client", "unauthorized_client") or (status == 401 and error):
        text = f"the authorization server refused the client ({status} {error}). Check client id and secret, and that "
        return InvalidClientError, f"{text}they belong to this environment."
    if 300 <= status < 400:
        host = re.match(r"https?://([\w.-]+)", url)
        text = f"the token endpoint redirects ({status}{f' to {host[1]}' if host else ''}), where no secret is sent. "
        return TokenRequestError, f"{text}Is that a maintenance page, or a login in front of it?"
    if status != 200 or error:
        return TokenRequestError, f"the authorization server refused the request ({status}); see error and description."
    return TokenRequestError, "the authorization server answered 200 without a usable bearer token."


def _read(response: Response, seconds: float, **_: Any) -> Response:
    """Replace an answer by its status, body and where it leads to, without headers that somebody would act on."""
    answer = Response()
    answer.status_code, answer.request = response.status_code, response.request
    answer.url = response.headers.get("Location", response.url)
    answer.headers["Retry-After"] = response.headers.get("Retry-After", "")
    # An adapter without a connection may have put the body there.
    raw = BytesIO(response.content) if isinstance(response._content, bytes) else response.raw or BytesIO()
    # read1 returns what has arrived; read would wait for all of CHUNK, with a timeout for each byte.
    read = partial(raw.read1, decode_content=False) if isinstance(raw, urllib3.HTTPResponse) else raw.read
    deadline, body = perf_counter() + seconds, bytearray()
    with closing(raw):
        while len(body) <= LONGEST_ANSWER and (part := read(CHUNK)):
            body += part
            if perf_counter() > deadline:
                raise requests.Timeout(f"The answer was not complete after {seconds:g} s.")
    answer._content, answer._content_consumed = bytes(body) if len(body) <= LONGEST_ANSWER else b"", True
    return answer


def _json_object(body: bytes) -> dict[str, Any]:
    """The plain values of the JSON object in `body`; empty if it holds anything else, however malformed."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    plain = (str, int, float, type(None))  # Others may be nested so deeply that the token could not be pickled.
    return {k: v for k, v in value.items() if isinstance(v, plain)} if isinstance(value, dict) else {}


def _retry_after(value: str) -> float | None:
    """Seconds that a Retry-After header asks for, given as a number or as a date (RFC 9110 section 10.2.3)."""
    if value.strip().isdecimal():
        return min(float(value), LONGEST_LIFE)
    try:
        # As UTC, whatever it says: HTTP knows no other. Without a zone, Windows raises OSError for early dates.
        date = parsedate_to_datetime(value).replace(tzinfo=timezone.utc)
    except (ValueError, OverflowError):
        return None
    return max(0.0, date.timestamp() - clock.time())


def _quotable(text: object, secret: str) -> str | None:
    """A server's words in a form fit for an exception: one short printable line, without an echo of the secret."""
    if not isinstance(text, str):
        return None
    text = "".join(filter(str.isprintable, text))
    for echo in (quote_plus(secret), secret):
        text = re.sub(re.escape(echo), "***", text, flags=re.IGNORECASE)
    return text[:200]


def _white_space(name: str, text: str) -> str:
    """A hint at how credentials that were refused may have been copied."""
    if text.split() == [text]:
        return ""
    where = "at its beginning" if text[0].isspace() else "at its end" if text[-1].isspace() else "inside it"
    return f" The {name} has white space {where}."


def _is_text(value: object) -> TypeGuard[str]:
    """Whether it is a string that says something, and can be encoded: variables may hold other bytes than UTF-8."""
    return isinstance(value, str) and value.strip() != "" and not re.search("[\ud800-\udfff]", value)
