"""Which request bears the token, and how a refused one is renewed and the request replayed."""

import logging
import os
import re
import weakref
from collections.abc import Mapping
from datetime import timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests.auth import AuthBase
from requests.cookies import extract_cookies_to_jar
from requests.exceptions import UnrewindableBodyError
from requests.structures import CaseInsensitiveDict
from requests.utils import rewind_body

from . import environment_variables
from .adapters import POOL_SIZE, SharedContextAdapter, forget_connections
from .environments import PRESETS, PRODUCTION, Environment, environment_of
from .exceptions import InsecureURLError, WrongEnvironmentError
from .grant import ClientCredentialsGrant, ClientSecret, Scope
from .timeouts import Timeout
from .tokens import CurrentToken, Token, Updater

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger("gopacs_session")
log.addHandler(logging.NullHandler())  # As in requests: silent by default.

_odd_hosts: set[str] = set()  # of which a warning was logged


class BearerHeaders(CaseInsensitiveDict[Any]):
    """The headers of a request with a token, which neither a repr nor Sentry shows."""

    authorization = ""  # what was put there; another Authorization in its place is the caller's own

    def copy(self) -> "BearerHeaders":
        twin = super().copy()
        twin.__class__, twin.authorization = BearerHeaders, self.authorization  # type: ignore[attr-defined]
        return twin  # type: ignore[return-value]

    def __repr__(self) -> str:
        return repr({name: "Bearer ***" if name.lower() == "authorization" else value for name, value in self.items()})

    __sentry_repr__ = __repr__  # Of any other mapping among a frame's variables, Sentry sends the items.


def has_token(request: PreparedRequest) -> bool:
    """Whether a request has the Authorization that a :class:`GopacsAuth` put there."""
    headers = request.headers
    return isinstance(headers, BearerHeaders) and headers.get("Authorization") == headers.authorization


class ClientCredentials:
    """What :class:`GopacsAuth` and :class:`GopacsSession` have in common: a client's settings, and its token."""

    _grant: ClientCredentialsGrant
    _tokens: CurrentToken

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> "Self":
        """Take the settings from `environ`, or else :data:`os.environ`, but for arguments of the class in `options`.

        ``GOPACS_CLIENT_ID``; ``GOPACS_CLIENT_SECRET``, or ``GOPACS_CLIENT_SECRET_FILE``, a file that is read for each
        token request; ``GOPACS_ENVIRONMENT`` (default: production), or ``GOPACS_TOKEN_URL`` with
        ``GOPACS_API_DOMAINS``, separated by commas; ``GOPACS_CA_BUNDLE``, the CA certificates to trust for its hosts.

        Raises:
            ConfigurationError: it names every variable that is missing, contradictory, malformed or misspelt.
        """
        arguments, _ = environment_variables.read(environ, options)
        return cls(**arguments, **options)

    def fetch_token(self, *, refused: str | None = None) -> dict[str, Any]:
        """Ask for a new token now, whatever happened before.

        With `refused`, a token or an Authorization that an API refused, only if nobody has done so since.

        Returns:
            The answer of RFC 6749 section 5.1, with ``expires_in`` in seconds and ``expires_at`` since the epoch.

        Raises:
            TokenRequestError: no token could be obtained.
        """
        if refused is None:
            return dict(self._tokens.replace().answer)
        _, _, token = refused.rpartition(" ")
        return dict(self._tokens.get(self._tokens.find(f"Bearer {token}")).answer)

    @property
    def token(self) -> dict[str, Any]:
        """The current token answer, expired or not; empty before the first. A stored one can be assigned."""
        latest = self._tokens.latest
        return dict(latest.answer) if latest else {}

    @token.setter
    def token(self, answer: Mapping[str, Any] | None) -> None:
        self._tokens.latest = Token.stored(answer) if answer else None

    @property
    def auth_header(self) -> Mapping[str, str]:
        """The Authorization header with a usable token; whoever sends it chooses where the token goes."""
        return BearerHeaders(Authorization=self._tokens.get().authorization)

    @property
    def environment(self) -> Environment:
        """It can't be changed, since a token belongs to one environment."""
        return self._grant.environment

    @property
    def client_id(self) -> str:
        """It can't be changed, since a token belongs to one client."""
        return self._grant.client_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.environment.name} client_id={self.client_id!r}>"


class GopacsAuth(ClientCredentials, AuthBase):
    """An auth object of requests, which puts an access token on requests to GOPACS: ``requests.get(url, auth=...)``.

    One object serves any number of threads and sessions with one token. Its arguments are those of
    :class:`GopacsSession`, without `timeout`, and with

    Args:
        session: whose adapters, proxies and TLS settings carry the token requests; by default a plain one of its own.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: ClientSecret,
        environment: Environment | str = PRODUCTION,
        *,
        scope: Scope = None,
        leeway: float = 60,
        token_timeout: Timeout = 10,
        token_updater: Updater | None = None,
        session: requests.Session | None = None,
    ) -> None:
        if session is None:
            session = requests.Session()
            session.mount("https://", SharedContextAdapter(pool_maxsize=POOL_SIZE))
        environment = environment_of(environment)
        self._grant = ClientCredentialsGrant(environment, client_id, client_secret, scope, token_timeout, session)
        self._tokens = CurrentToken(self._grant.fetch, self._grant.longest, leeway, token_updater)
        self._replay = Replay(self)
        _living.add(self)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Put the token on a request to the environment's hosts.

        Raises:
            WrongEnvironmentError: the URL belongs to another environment.
            InsecureURLError: an ``http://`` URL of a host of this environment.
            TokenRequestError: no token could be obtained.
        """
        url = str(request.url)
        if not self._grant.environment.covers(url):
            _check_foreign(url, self._grant.environment)
            return request
        token = self._tokens.get()
        headers: Any = request.headers
        headers.__class__ = BearerHeaders
        headers["Authorization"] = headers.authorization = token.authorization
        # To the front: while urllib3 sends a body, it has the last header in a variable, which tracebacks may show.
        headers._store.move_to_end("authorization", last=False)
        if headers.get("Accept") == "*/*":
            headers["Accept"] = "application/json"  # as GOPACS's manual on client credentials asks for
        # In front of the user's hooks, which see the final answer only.
        request.hooks["response"].insert(0, self._replay)
        return request

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _replay=Replay(self))
        _living.add(self)


def _check_foreign(url: str, own: Environment) -> None:
    """Let a request go without a token, unless it was meant to have one."""
    host = urlsplit(url).hostname or ""
    if own.owns(url):
        raise InsecureURLError(f"A token goes over https only, and nothing was sent to {host}: use https://.")
    for other in PRESETS:
        if other.owns(url):
            raise WrongEnvironmentError(
                f"The token is for {own.name}, but the URL belongs to {other.name}: nothing was sent to it. Use a "
                f"session or an auth object for {other.name}, or withhold_token=True."
            )
    log.debug("%s gets no token: it is no host of %s.", host, own.name)
    if "gopac" in host and host not in _odd_hosts:
        _odd_hosts.add(host)
        log.warning("%s gets no token, since it is no host of %s: is it mistyped?", host, own.name)


class Replay:
    """The response hook of a request with a token: a refused token is renewed, and the request replayed once."""

    def __init__(self, auth: GopacsAuth | None) -> None:
        self._auth = auth

    def __reduce__(self) -> tuple[Any, ...]:
        return Replay, (None,)  # A pickled response refers to its hooks, and must not take the secret along.

    def __deepcopy__(self, memo: dict[int, Any]) -> "Replay":
        return self  # The copy of a request is to be replayed, too.

    def __call__(self, response: Response, **send_options: Any) -> Response:
        """The answer to the request with another token, if this one was refused; else the response itself."""
        if self._auth is None or not refuses_token(response):
            return response
        tokens, request, adapter = self._auth._tokens, response.request.copy(), self._adapter_of(response)
        refused = tokens.find(str(request.headers.get("Authorization")))  # None if it was renewed meanwhile
        if refused is None and not has_token(request):  # HTTPie and requests-cache make headers of another class.
            return response
        if refused and refused.is_young_replacement:
            _log(logging.WARNING, response, "; it is new, and replaced another refused one")
            return response
        if adapter is None or not _rewind(request):
            tokens.refused = refused or tokens.refused  # A late refusal may be of an older token.
            _log(logging.WARNING, response, "; the request can't be sent again, and the next one gets another token")
            return response
        if response.raw is not None and not isinstance(response._content, bytes):
            # Before the renewal, since a pool may give one connection to both servers; and unread: the body may drip.
            response.close()
            response._content, response._content_consumed = b"", True
        token = tokens.get(refused)
        _put(token, request, response)
        started = perf_counter()
        answer: Response = adapter.send(request, **send_options)
        answer.elapsed = timedelta(seconds=perf_counter() - started)
        if refuses_token(answer):
            _log(logging.WARNING, answer, ", and the replay's, too")
        else:
            token.unproven = False
            _log(logging.INFO, response, ", and accepted the replay's")
        answer.history.append(response)
        return answer

    def _adapter_of(self, response: Response) -> BaseAdapter | None:
        """The session's own, whatever it wraps, if a GopacsSession sent the request; else the one that answered."""
        session = self._auth and self._auth._grant.session
        if session and getattr(session, "_token_auth", None) is self._auth:
            return session.get_adapter(str(response.request.url))
        return getattr(response, "connection", None)


def _put(token: Token, request: PreparedRequest, refusal: Response) -> None:
    headers: BearerHeaders = request.headers  # type: ignore[assignment]
    headers["Authorization"] = headers.authorization = token.authorization
    if "Set-Cookie" in refusal.headers:
        headers.pop("Cookie", None)  # It is made anew, as in requests along a redirect.
        extract_cookies_to_jar(request._cookies, refusal.request, refusal.raw)  # type: ignore[arg-type]
        request.prepare_cookies(request._cookies)


# The error of a challenge (RFC 6750 section 3), or else a quoted string, in which anything may stand. One that does not
# end goes on to the end: looking for its end once more from each quote in it would take minutes.
_ERROR = re.compile(r'(?:^|[\s,])error\s*=\s*"?([a-z_]+)"?|"(?:[^"\\]|\\.)*"?', re.IGNORECASE)


def refuses_token(response: Response) -> bool:
    """Whether an API refused the token, and may accept another; some gateways say so with a 403."""
    # The answer to a replay has a history, when requests-cache calls hooks once more; some adapters leave request None.
    if response.status_code not in (401, 403) or response.history or response.request is None:
        return False
    errors = {error.lower() for error in _ERROR.findall(response.headers.get("WWW-Authenticate", ""))}
    return "invalid_token" in errors if response.status_code == 403 else "insufficient_scope" not in errors


def _log(level: int, response: Response, what: str) -> None:
    url = urlsplit(str(response.request.url))  # Its query may hold anything.
    log.log(level, "%s%s refused a token (%d)%s.", url.hostname, url.path, response.status_code, what)


def _rewind(request: PreparedRequest) -> bool:
    """Set the body back to where it stood when it was first sent; False if it can't be."""
    try:
        if not isinstance(request.body, (str, bytes, bytearray, memoryview, type(None))):
            rewind_body(request)
    except (UnrewindableBodyError, ValueError):  # ValueError: the file was closed meanwhile.
        return False
    return True


_living: weakref.WeakSet[GopacsAuth] = weakref.WeakSet()


def _after_fork() -> None:
    for auth in list(_living):
        auth._tokens.after_fork()
        forget_connections(auth._grant.session)


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows cannot fork
    os.register_at_fork(after_in_child=_after_fork)
