"""A requests session whose requests to GOPACS bear an access token."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import requests
from oauthlib.oauth2 import BackendApplicationClient
from requests.adapters import HTTPAdapter
from requests_oauthlib import OAuth2Session

from . import environment_variables
from .auth import PlainAuth, TokenAuth, has_token_auth
from .authorization import hide_token
from .environments import PRODUCTION, Environment, preset
from .exceptions import ConfigurationError, GopacsSessionError
from .forking import watch
from .grant import ClientCredentialsGrant, Scope, longest_renewal
from .timeouts import Timeout, check_seconds, check_timeout
from .tokens import CurrentToken, Token

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger("gopacs_session")
log.addHandler(logging.NullHandler())  # As requests does: a program that wants the log says so.

POOL_SIZE = 64  # connections kept for each host


class GopacsSession(OAuth2Session):
    """A :class:`requests.Session` for GOPACS.

    Requests over https to the environment's hosts bear an access token, which is obtained with the client credentials
    grant (RFC 6749 section 4.4) when the first of them needs it, and renewed before it expires. Requests to any other
    host are those of a plain session. One session serves any number of threads.

    Args:
        client_id: the API client's name, as registered with GOPACS.
        client_secret: its key; or a callable without arguments that returns it, called for each token request.
        environment: an :class:`Environment`, or ``"acceptance"`` or ``"production"``.
        scope: scopes to ask for (RFC 6749 section 3.3); GOPACS needs none.
        leeway: seconds before its expiry from which a token is renewed in the background, at most half its life.
        token_timeout: seconds for one try at the token endpoint, or a pair of seconds to connect and to read.
        timeout: the same for requests that name none; None waits for ever, as requests does.
        token_updater: called with each new token, a dict, by the thread that renewed it.

    Raises:
        ConfigurationError: an argument is empty, unknown or malformed.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str | Callable[[], str],
        environment: Environment | str = PRODUCTION,
        *,
        scope: Scope = None,
        leeway: float = 60,
        token_timeout: Timeout = 10,
        timeout: float | tuple[float | None, float | None] | None = 60,
        token_updater: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """The arguments are those of the class."""  # Without a docstring help() would show the parent's.
        if not (isinstance(client_id, str) and client_id.strip()):
            raise ConfigurationError("client_id must be a non-empty string.")
        if scope is not None and not isinstance(scope, (str, list, tuple, set)):
            raise ConfigurationError("scope must be a string, or a list of strings.")
        check_seconds("leeway", leeway, least=0)
        check_timeout("timeout", timeout, may_be_none=True)
        self.environment = preset(environment) if isinstance(environment, str) else environment
        if not isinstance(self.environment, Environment):
            raise ConfigurationError("environment must be an Environment or the name of one.")
        self._current = CurrentToken(leeway)
        self.token_timeout = token_timeout
        self.timeout = timeout
        self._grant = ClientCredentialsGrant(self.environment, client_secret)
        super().__init__(client=BackendApplicationClient(client_id), scope=scope, token_updater=token_updater)
        # The parent's auth object would switch netrc off for every host; each request of ours brings its own.
        self.auth = None
        # Threads beyond requests' ten would throw their connections away, and pay a TLS handshake for each request.
        self.mount("https://", HTTPAdapter(pool_maxsize=POOL_SIZE))
        watch(self)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Self:
        """A session with the settings in environment variables.

        ``GOPACS_CLIENT_ID``; ``GOPACS_CLIENT_SECRET``, or ``GOPACS_CLIENT_SECRET_FILE``, a file that is read for each
        token request; ``GOPACS_ENVIRONMENT`` (default: production), or ``GOPACS_TOKEN_URL`` with
        ``GOPACS_API_DOMAINS``, separated by commas.

        Args:
            environ: what to read instead of :data:`os.environ`.
            options: arguments of the class; those given here are not looked for in the variables.

        Raises:
            ConfigurationError: it names every variable that is missing, contradictory, malformed or unreadable.
        """
        return cls(**{**environment_variables.read(environ, options).arguments, **options})

    def __repr__(self) -> str:
        return f"<GopacsSession {self.environment.name} client_id={self.client_id!r}>"

    # -- the way of a request ---------------------------------------------------------------------------------------

    def request(  # type: ignore[override]  # The order of requests.Session, which the parent changes.
        self,
        method: str,
        url: str | bytes,
        params: Any = None,
        data: Any = None,
        headers: Any = None,
        cookies: Any = None,
        files: Any = None,
        auth: Any = None,
        timeout: Any = None,
        allow_redirects: bool = True,
        proxies: Any = None,
        hooks: Any = None,
        stream: bool | None = None,
        verify: Any = None,
        cert: Any = None,
        json: Any = None,
        withhold_token: bool = False,
    ) -> requests.Response:
        """As :meth:`requests.Session.request`, with the token where it belongs.

        Args:
            withhold_token: send what a plain session would send, without the token.

        Raises:
            WrongEnvironmentError: the URL belongs to another environment.
            oauthlib.oauth2.InsecureTransportError: an ``http://`` URL of a host of this environment.
            TokenRequestError: a token is needed, and there is none to be had.
        """
        if not (auth or self.auth):
            auth = PlainAuth(self.trust_env) if withhold_token else self._token_auth()
        # Past the parent's request: it sends without a token when it has none, and logs the one it has.
        return super(OAuth2Session, self).request(
            method, url, params=params, data=data, headers=headers, cookies=cookies, files=files, auth=auth,
            timeout=timeout, allow_redirects=allow_redirects, proxies=proxies, hooks=hooks, stream=stream,
            verify=verify, cert=cert, json=json,
        )  # fmt: skip

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """As in requests; a request without an auth of its own bears the token."""
        if not (request.auth or self.auth):
            request = copy.copy(request)  # The caller may prepare it again, for another session.
            request.auth = self._token_auth()
        return super().prepare_request(request)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """As in requests, with the session's timeout and the environment's `ca_bundle` where none is named."""
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self.timeout
        if kwargs.get("verify", self.verify) is True:  # As in a prepared request, or one that was redirected here.
            kwargs["verify"] = self._ca_bundle(str(request.url)) or True
        response = super().send(request, **kwargs)
        for earlier in response.history:
            hide_token(earlier)
        return response

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """As in requests for a plain request; one that bore the token keeps it within the environment's hosts."""
        if has_token_auth(prepared_request):
            self._token_auth().follow_redirect(prepared_request)
        else:
            super().rebuild_auth(prepared_request, response)

    def resolve_redirects(self, *args: Any, **kwargs: Any) -> Iterator[Any]:  # type: ignore[override]
        """As in requests; a redirect that may not be followed is no fault of a caller who does not follow any."""
        redirects = super().resolve_redirects(*args, **kwargs)
        # With yield_requests, requests only looks for what becomes response.next.
        return _unless_refused(redirects) if kwargs.get("yield_requests") else redirects

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """As in requests; for the environment's hosts, its `ca_bundle` stands in place of what requests trusts."""
        if verify in (None, True):
            verify = self._ca_bundle(url) or verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)

    def _ca_bundle(self, url: str) -> str | None:
        return self.environment.ca_bundle if self.verify is True and self.environment.serves(url) else None

    def _token_auth(self) -> TokenAuth:
        # get_adapter is looked up when it is called: requests-mock replaces it while a request is under way.
        return TokenAuth(self.environment, self._get_token, lambda url: self.get_adapter(url), self.trust_env)

    # -- the token --------------------------------------------------------------------------------------------------

    def _get_token(self, refused: str | None = None) -> Token:
        return self._current.get(self._fetch, self._updated, refused)

    def _fetch(self) -> tuple[dict[str, Any], float]:
        return self._grant.request_token(self, getattr(self, "client_id", None), self.scope, self.token_timeout)

    @property
    def token_timeout(self) -> Timeout:
        """Seconds for one try at the token endpoint, or a pair of seconds to connect and to read; it may be changed.

        Raises:
            ConfigurationError: what is assigned is neither.
        """
        return self._token_timeout

    @token_timeout.setter
    def token_timeout(self, timeout: Timeout) -> None:
        check_timeout("token_timeout", timeout)
        self._token_timeout = timeout
        self._current.patience = longest_renewal(timeout)

    def _updated(self, token: dict[str, Any]) -> None:
        if self.token_updater is None:
            return
        try:
            self.token_updater(token)
        except Exception as error:  # noqa: BLE001 - the token is good; the error's text might hold it
            log.error("token_updater raised %s; the new token is used all the same.", type(error).__name__)

    def fetch_token(self) -> dict[str, Any]:  # type: ignore[override]
        """Renew the token now.

        Returns:
            The token endpoint's answer (RFC 6749 section 5.1), with ``expires_in`` in seconds and ``expires_at`` in
            seconds since the epoch.

        Raises:
            TokenRequestError: there is none to be had.
        """
        return dict(self._current.renew(self._fetch, self._updated, self._current.token).answer)

    def refresh_token(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """:meth:`fetch_token`: this grant has no refresh tokens (RFC 6749 section 4.4.3)."""
        return self.fetch_token()

    def register_compliance_hook(self, hook_type: str, hook: Callable[..., Any]) -> None:
        """Not to be had: nothing of the user's goes to the token endpoint, and requests has hooks for the rest.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("GopacsSession calls no compliance hooks: use requests' hooks or an auth object.")

    @property
    def token(self) -> dict[str, Any]:
        """The current token answer, expired or not; empty before the first. A stored one can be assigned.

        Raises:
            ConfigurationError: what is assigned holds no access token.
        """
        return self._current.answer

    @token.setter
    def token(self, answer: Mapping[str, Any] | None) -> None:
        self._current.put(answer or {})

    @property
    def access_token(self) -> str | None:
        """The current access token, expired or not; None before the first."""
        return self.token.get("access_token")

    @access_token.setter
    def access_token(self, value: str | None) -> None:
        self.token = None if value is None else {"access_token": value}

    @access_token.deleter
    def access_token(self) -> None:
        self.token = None

    @contextmanager
    def ensure_authenticated(self) -> Iterator[None]:
        """For shapeshifter-uftp, whose clients take this session as their ``oauth_client``: have a usable token.

        Raises:
            TokenRequestError: there is none to be had.
        """
        self._get_token()
        yield

    @property
    def auth_header(self) -> dict[str, str]:
        """The Authorization header with a usable token; whoever sends it chooses where the token goes.

        Raises:
            TokenRequestError: there is none to be had.
        """
        return {"Authorization": self._get_token().authorization}

    # -- copies and children ----------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        # Unlike requests, which keeps only what it knows itself. The secret goes along.
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        watch(self)


def _unless_refused(redirects: Iterator[Any]) -> Iterator[Any]:
    with suppress(GopacsSessionError):
        yield from redirects
