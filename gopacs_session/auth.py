"""Which request bears the token, what a redirect keeps of it, and how a refusal is mended."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from oauthlib.oauth2 import TokenExpiredError
from requests import PreparedRequest, Session
from requests.auth import AuthBase

from . import environment_variables
from .bearer import MASK, BearerHeaders, Mending
from .environments import PRODUCTION, Environment, environment_of, preset_owning
from .exceptions import InsecureURLError, WrongEnvironmentError
from .grant import ClientCredentialsGrant, ClientSecret, Scope
from .issued_token import IssuedToken, as_authorization
from .renewal import Updater, check_updater
from .settings import Settings
from .timeouts import Timeout, check_seconds
from .tokens import CurrentToken
from .tracebacks import leaving_no_locals
from .transport import TokenTransport

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger("gopacs_session")
log.addHandler(logging.NullHandler())  # As in requests: silent by default.


class AuthHeader(dict[str, str]):
    """An Authorization header whose repr hides the token."""

    def __repr__(self) -> str:
        return repr(dict.fromkeys(self, MASK))


class GopacsAuth(Settings, AuthBase):
    """An auth object of requests: it puts an access token on requests to GOPACS, whoever sends them.

    ::

        auth = GopacsAuth("my-client", "its-secret")
        requests.get("https://api.gopacs-services.eu/…", auth=auth)

    One object serves any number of threads and sessions with one token, which it obtains and renews through connections
    of its own. A request that is refused with it is sent once more with another, by the adapter that sent it. Requests
    to other hosts stay as they are.

    Args:
        client_id: the API client's name, as registered with GOPACS.
        client_secret: its key; or a callable without arguments that returns it, called for each token request.
        environment: an :class:`Environment`, or ``"acceptance"`` or ``"production"``.
        scope: scopes to ask for (RFC 6749 section 3.3); GOPACS needs none.
        leeway: seconds before its expiry from which a token is renewed in the background, at most half its life.
        token_timeout: seconds for one try at the token endpoint, or a pair of seconds to connect and to read.
        token_updater: called with each new token, a dict, by the thread that renewed it.

    Raises:
        ConfigurationError: an argument is empty, unknown or malformed.
    """

    @leaving_no_locals
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
    ) -> None:
        check_seconds("leeway", leeway, least=0)
        check_updater(token_updater)
        environment = environment_of(environment)
        transport = TokenTransport(Session(), environment.ca_bundle)
        self._session: requests.Session | None = None  # whose requests it authenticates; None: anybody's
        self._grant = ClientCredentialsGrant(environment, client_id, client_secret, scope, token_timeout, transport)
        self._tokens = CurrentToken(self._grant, leeway, token_updater)

    @classmethod
    @leaving_no_locals
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Self:
        """An auth object with the settings in environment variables: see :meth:`GopacsSession.from_env`."""
        return cls(**{**environment_variables.read(environ, options).arguments, **options})

    def carried_by(self, session: requests.Session) -> Self:
        """A copy that authenticates the requests of one session, through which its token requests and replays go."""
        twin = copy.copy(self)
        twin._session = session
        twin._grant = replace(self._grant, transport=TokenTransport(session, self.environment.ca_bundle))
        twin._tokens = self._tokens.with_grant(twin._grant)
        return twin

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.environment.name} client_id={self.client_id!r}>"

    # -- a request, a redirect, a refusal ---------------------------------------------------------------------------

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Put the token on a request to the environment's hosts.

        Raises:
            WrongEnvironmentError: the URL belongs to another environment.
            InsecureURLError: an ``http://`` URL of a host of this environment.
            TokenRequestError: no token could be obtained.
        """
        url = str(request.url)
        if self._grant.environment.covers(url):
            token = self.get_token()
            headers = request.headers
            headers.__class__ = BearerHeaders  # As they are, but with a repr that hides the token.
            headers["Authorization"] = token.authorization
            accept = headers.pop("Accept", None)
            if accept is not None:
                # Behind Authorization: while urllib3 sends a body, it has the last header in a variable, and tracebacks
                # may show that. JSON is what GOPACS's manual "OAuth2 Client credentials for API Clients" asks for.
                headers["Accept"] = "application/json" if accept == "*/*" else accept
            # In front of the user's hooks, which see the final answer only.
            mending = Mending(self, self._tokens, self._session, token, f"{request.method} {url}")
            request.hooks["response"].insert(0, mending)
        else:
            self._stay_away(url)
        return request

    def get_token(self, refused: IssuedToken | None = None) -> IssuedToken:
        """The current token, or the next one if its time is over or an API refused it.

        Args:
            refused: the one that was refused.

        Raises:
            TokenRequestError: no token could be obtained.
        """
        try:
            return self._tokens.current(refused)
        except TokenExpiredError:
            pass  # Renewed below, so that an error there is not raised "during handling of" this one.
        return self._tokens.renew(refused)

    def follow_redirect(self, request: PreparedRequest) -> bool:
        """Let a redirected request keep the token within the environment, or lose it for good; False if it had none.

        It is the current token: asking for another could raise an error, which would hide the answer to the request
        before. That one may have been executed.
        """
        mending = Mending.of(request)
        if mending is None or mending.auth is not self:
            return False
        bears_it = request.headers.get("Authorization") == mending.token.authorization
        if "Authorization" in request.headers and not bears_it:  # but the caller's own
            return False
        token = self._tokens.latest
        if bears_it and token is not None and self.environment.covers(str(request.url)):
            mending.bear(request, token)
        else:
            request.headers.pop("Authorization", None)
        return True

    def refuse_other_environments(self, url: str) -> None:
        """Raise :class:`WrongEnvironmentError` if this URL belongs to another of GOPACS's environments."""
        other = preset_owning(url)
        if other is not None and not self.environment.owns(url):
            use = f"an auth object for {other.name}, or none"
            if self._session is not None:
                use = f"a session for {other.name}, or withhold_token=True"
            raise WrongEnvironmentError(
                f"The token is for {self.environment.name}, but the URL belongs to {other.name}: nothing was sent to "
                f"it. Use {use}."
            )

    def _stay_away(self, url: str) -> None:
        host = urlsplit(url).hostname
        if self.environment.owns(url):
            raise InsecureURLError(
                f"A token goes over https only, and nothing was sent to http://{host}: use https://."
            )
        self.refuse_other_environments(url)
        if "gopacs-services" in str(host):
            log.warning("%s does not belong to %s: is it mistyped? It gets no token.", host, self.environment.name)
        else:
            log.debug("%s does not belong to %s: it gets no token.", host, self.environment.name)

    # -- the token --------------------------------------------------------------------------------------------------

    def fetch_token(self, *, refused: str | None = None) -> dict[str, Any]:
        """Ask for a new token now, whatever happened before.

        Args:
            refused: a token or an Authorization that an API refused: another one is asked for only if nobody has since.

        Returns:
            The token endpoint's answer (RFC 6749 section 5.1), with ``expires_in`` in seconds and ``expires_at`` in
            seconds since the epoch.

        Raises:
            TokenRequestError: no token could be obtained.
            ConfigurationError: `refused` is neither a token nor an Authorization.
        """
        if refused is None:
            token = self._tokens.renew(replacing=self._tokens.latest, insist=True)
        else:
            token = self.get_token(self._tokens.known_as(as_authorization(refused)))
        return dict(token.client.token)

    @property
    def auth_header(self) -> dict[str, str]:
        """The Authorization header with a usable token; whoever sends it chooses where the token goes.

        Raises:
            TokenRequestError: no token could be obtained.
        """
        return AuthHeader(Authorization=self.get_token().authorization)
