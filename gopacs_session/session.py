"""A requests session whose requests to GOPACS bear an access token."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from oauthlib.oauth2 import BackendApplicationClient
from requests import PreparedRequest, Request, Response
from requests_oauthlib import OAuth2Session

from .adapters import POOL_SIZE, SharedContextAdapter
from .auth import BearerHeaders, ClientCredentials, GopacsAuth, has_token
from .environments import PRODUCTION, Environment
from .grant import ClientSecret, Scope
from .timeouts import RequestTimeout, Timeout, check_timeout
from .tokens import Updater


def withheld(request: PreparedRequest) -> PreparedRequest:
    """The auth of a request from which the token is withheld."""
    return request


class GopacsSession(ClientCredentials, OAuth2Session):  # type: ignore[misc]  # It gives less than its parent.
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

    An argument that is empty, unknown or malformed is a :class:`ConfigurationError`.
    """

    # What goes into pickles and copies, as in requests; the secret and the token, too.
    __attrs__ = [*requests.Session.__attrs__, "_token_auth", "_grant", "_tokens", "_timeout"]

    def __init__(
        self,
        client_id: str,
        client_secret: ClientSecret,
        environment: Environment | str = PRODUCTION,
        *,
        scope: Scope = None,
        leeway: float = 60,
        token_timeout: Timeout = 10,
        timeout: RequestTimeout = 60,
        token_updater: Updater | None = None,
    ) -> None:
        """The arguments are those of the class."""  # Without a docstring help() would show the parent's.
        # Past the parent's, which assigns what other grants need, and an auth that would switch netrc off everywhere.
        super(OAuth2Session, self).__init__()
        self.mount("https://", SharedContextAdapter(pool_maxsize=POOL_SIZE))
        self._token_auth = GopacsAuth(
            client_id, client_secret, environment,
            scope=scope, leeway=leeway, token_timeout=token_timeout, token_updater=token_updater, session=self,
        )  # fmt: skip
        self._grant, self._tokens = self._token_auth._grant, self._token_auth._tokens  # which ClientCredentials reads
        self.timeout = timeout

    def request(  # type: ignore[override]  # The order is that of requests, which the parent changes.
        self, method: str, url: Any, *args: Any, withhold_token: bool = False, **kwargs: Any
    ) -> Response:
        """As :meth:`requests.Session.request`, with the token where it belongs: see :meth:`GopacsAuth.__call__`.

        Args:
            withhold_token: send what a plain session would send, without the token.
        """
        if withhold_token:
            kwargs["auth"] = kwargs.get("auth") or self.auth or withheld
        # Not the parent's request: it sends without a token when it has none, and logs the one it has.
        return super(OAuth2Session, self).request(method, url, *args, **kwargs)

    def prepare_request(self, request: Request) -> PreparedRequest:
        """As in requests; a request without an auth of its own bears the token."""
        if not (request.auth or self.auth):
            request = copy.copy(request)  # The caller may prepare it again, for another session.
            request.auth = self._token_auth
        prepared = super().prepare_request(request)
        if request.auth in (self._token_auth, withheld) and not isinstance(prepared.headers, BearerHeaders):
            # What requests does where no auth is given: netrc's credentials, by the caller's URL, or those in the URL.
            netrc_auth = requests.sessions.get_netrc_auth  # type: ignore[attr-defined]  # Looked up now: people patch it.
            prepared.prepare_auth(netrc_auth(request.url or "") if self.trust_env else None)
        return prepared

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> dict[str, Any]:
        """As in requests; the environment's `ca_bundle` goes before those of the process's environment."""
        environment = self._grant.environment
        if environment.ca_bundle and verify in (None, True) and self.verify is True and environment.covers(url):
            verify = environment.ca_bundle
        return super().merge_environment_settings(url, proxies, stream, verify, cert)

    def send(self, request: PreparedRequest, **kwargs: Any) -> Response:
        """As in requests, with the session's timeout and the environment's `ca_bundle` where none is named."""
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self._timeout
        environment = self._grant.environment
        if environment.ca_bundle and kwargs.get("verify", self.verify) is True and environment.covers(str(request.url)):
            kwargs["verify"] = environment.ca_bundle
        return super().send(request, **kwargs)

    def rebuild_auth(self, prepared_request: PreparedRequest, response: Response) -> None:
        """As in requests, but a redirected request keeps the token within the environment's own https hosts."""
        if has_token(prepared_request):
            if self._grant.environment.covers(str(prepared_request.url)):
                return
            del prepared_request.headers["Authorization"]
        super().rebuild_auth(prepared_request, response)

    @property
    def timeout(self) -> RequestTimeout:
        """Seconds for requests that name no timeout, or a pair of seconds to connect and to read; None for no limit."""
        return self._timeout

    @timeout.setter
    def timeout(self, timeout: RequestTimeout) -> None:
        check_timeout("timeout", timeout, may_be_none=True)
        self._timeout = timeout

    @property  # type: ignore[misc]  # To the parent it could be assigned.
    def access_token(self) -> str | None:
        """The current access token, expired or not; None before the first."""
        return self.token.get("access_token")

    @contextmanager
    def ensure_authenticated(self) -> Iterator[None]:
        """Have a usable token: shapeshifter-uftp calls this on a session that is its ``oauth_client``."""
        self._tokens.get()
        yield

    @property
    def _client(self) -> BackendApplicationClient:  # of oauthlib's; the parent reads it
        return BackendApplicationClient(self.client_id, token=self.token)
