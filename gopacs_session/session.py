"""A requests session whose requests to GOPACS bear an access token."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import requests

from . import environment_variables, proxy_variables
from .adapters import SharedContextAdapter
from .auth import GopacsAuth
from .bearer import BearerHeaders, Mending, hide_token
from .client_credentials_session import ClientCredentialsSession, no_auth
from .environments import PRODUCTION, Environment
from .grant import ClientSecret, Scope
from .oauth2_session import OAuth2Session
from .renewal import Updater
from .timeouts import RequestTimeout, Timeout, check_timeout
from .tracebacks import leaving_no_locals

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

    from requests import _types as of_requests
    from requests.cookies import RequestsCookieJar
    from typing_extensions import Self


class GopacsSession(ClientCredentialsSession):
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
        timeout: RequestTimeout = 60,
        token_updater: Updater | None = None,
    ) -> None:
        """The arguments are those of the class."""  # Without a docstring help() would show the parent's.
        auth = GopacsAuth(
            client_id, client_secret, environment,
            scope=scope, leeway=leeway, token_timeout=token_timeout, token_updater=token_updater,
        )  # fmt: skip
        super().__init__(auth)
        self.timeout = timeout
        self.mount("https://", SharedContextAdapter())

    @classmethod
    @leaving_no_locals
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Self:
        """A session with the settings in environment variables.

        ``GOPACS_CLIENT_ID``; ``GOPACS_CLIENT_SECRET``, or ``GOPACS_CLIENT_SECRET_FILE``, a file that is read for each
        token request; ``GOPACS_ENVIRONMENT`` (default: production), or ``GOPACS_TOKEN_URL`` with
        ``GOPACS_API_DOMAINS``, separated by commas; ``GOPACS_CA_BUNDLE``, the CA certificates to trust for its hosts.

        Args:
            environ: what to read instead of :data:`os.environ`.
            options: arguments of the class; those given here are not looked for in the variables.

        Raises:
            ConfigurationError: it names every variable that is missing, contradictory, malformed or unreadable.
        """
        return cls(**{**environment_variables.read(environ, options).arguments, **options})

    # -- sending a request ------------------------------------------------------------------------------------------

    def request(  # The order of requests.Session, which the parent changes.
        self,
        method: str,
        url: of_requests.UriType,
        params: of_requests.ParamsType = None,
        data: of_requests.DataType = None,
        headers: of_requests.HeadersType = None,
        cookies: RequestsCookieJar | CookieJar | dict[str, str] | None = None,
        files: of_requests.FilesType = None,
        auth: of_requests.AuthType = None,
        timeout: of_requests.TimeoutType = None,
        allow_redirects: bool = True,
        proxies: dict[str, str] | None = None,
        hooks: of_requests.HooksInputType | None = None,
        stream: bool | None = None,
        verify: of_requests.VerifyType | None = None,
        cert: of_requests.CertType = None,
        json: of_requests.JsonType = None,
        withhold_token: bool = False,
    ) -> requests.Response:
        """As :meth:`requests.Session.request`, with the token where it belongs.

        Args:
            withhold_token: send what a plain session would send, without the token.

        Raises:
            WrongEnvironmentError: the URL belongs to another environment.
            InsecureURLError: an ``http://`` URL of a host of this environment.
            TokenRequestError: a token is needed, and none could be obtained.
        """
        if withhold_token and not (auth or self.auth):
            auth = no_auth
        # Not the parent's request: it sends without a token when it has none, and logs the one it has.
        return super(OAuth2Session, self).request(
            method, url, params=params, data=data, headers=headers, cookies=cookies, files=files, auth=auth,
            timeout=timeout, allow_redirects=allow_redirects, proxies=proxies, hooks=hooks, stream=stream,
            verify=verify, cert=cert, json=json,
        )  # fmt: skip

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """As in requests; a request without an auth of its own bears the token."""
        if request.auth or self.auth:
            ours = request.auth is no_auth
        else:
            ours, request = True, copy.copy(request)  # The caller may prepare it again, for another session.
            request.auth = self._token_auth
        prepared = super().prepare_request(request)
        if ours and not isinstance(prepared.headers, BearerHeaders):
            # What requests does where no auth is given: netrc's credentials, by the caller's URL, or those in the URL.
            netrc_auth = requests.sessions.get_netrc_auth  # type: ignore[attr-defined]  # Looked up now: people patch it.
            prepared.prepare_auth(netrc_auth(request.url or "") if self.trust_env else None)
        return prepared

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> dict[str, Any]:
        """As in requests; the environment's `ca_bundle` goes before those of the process's environment."""
        environment = self._environment
        if environment.ca_bundle and verify in (None, True) and self.verify is True and environment.covers(url):
            verify = environment.ca_bundle
        lookups = requests.utils.getproxies, requests.sessions.get_environ_proxies  # type: ignore[attr-defined]
        surroundings = [*getattr(os.environ, "_data", ())], *lookups
        if surroundings == proxy_variables.proxyless or proxy_variables.are_proxyless(surroundings):
            url = ""  # Saves time: for a URL without a host requests skips its search, which would find no proxy.
        return super().merge_environment_settings(url, proxies, stream, verify, cert)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """As in requests, with the session's timeout and the environment's `ca_bundle` where none is named."""
        environment = self._environment
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self._timeout
        if environment.ca_bundle and kwargs.get("verify", self.verify) is True and environment.covers(str(request.url)):
            kwargs["verify"] = environment.ca_bundle
        hooks = request.hooks.get("response") or ()
        bore = any(isinstance(hook, Mending) and hook.auth is self._token_auth for hook in hooks)
        if bore and "Authorization" not in request.headers:
            # It lost the token on a redirect. Only here, since requests prepares redirects that nobody follows, too.
            self._token_auth.refuse_other_environments(str(request.url))
            if environment.ca_bundle and kwargs.get("verify") == environment.ca_bundle:  # requests hands it on
                kwargs["verify"] = self.merge_environment_settings(request.url, {}, None, None, None)["verify"]
        response = super().send(request, **kwargs)
        for earlier in response.history:
            hide_token(earlier)
        return response

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """As in requests for a plain request; one that bore the token keeps it within the environment's hosts."""
        if not self._token_auth.follow_redirect(prepared_request):
            super().rebuild_auth(prepared_request, response)

    @property
    def timeout(self) -> RequestTimeout:
        """Seconds for requests that name no timeout, or a pair of seconds to connect and to read; None for no limit."""
        return self._timeout

    @timeout.setter
    def timeout(self, timeout: RequestTimeout) -> None:
        check_timeout("timeout", timeout, may_be_none=True)
        self._timeout = timeout

    def __getstate__(self) -> dict[str, Any]:
        """Unlike in requests, the user's own attributes go along, the secret too; but nothing that wraps a method."""
        return {name: value for name, value in vars(self).items() if not callable(getattr(type(self), name, None))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._token_auth = self._token_auth.carried_by(self)
