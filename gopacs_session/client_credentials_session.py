"""What OAuth2Session of requests-oauthlib offers, by the client credentials grant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

from oauthlib.oauth2 import BackendApplicationClient
from requests import PreparedRequest

from .auth import GopacsAuth
from .environments import Environment
from .grant import Scope
from .oauth2_session import OAuth2Session
from .renewal import Updater
from .timeouts import Timeout
from .unsupported import Unsupported

Got = TypeVar("Got")
Taken = TypeVar("Taken")


def no_auth(request: PreparedRequest) -> PreparedRequest:
    """An auth that does nothing, as the parent's, for a request from which the token is withheld."""
    return request


class AuthAttribute(Generic[Got, Taken]):
    """An attribute that is read, and where that can be, set on the session's :class:`GopacsAuth`.

    Its types are those of what it gives, and of what it takes: NoReturn, if it can't be set.

    Args:
        original: the auth's property, for its documentation.
    """

    def __init__(self, original: object) -> None:
        self.__doc__ = original.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, session: None, owner: type) -> AuthAttribute[Got, Taken]: ...

    @overload
    def __get__(self, session: ClientCredentialsSession, owner: type | None = None) -> Got: ...

    def __get__(self, session: Any, owner: type | None = None) -> Any:
        return self if session is None else getattr(session._token_auth, self._name)

    def __set__(self, session: ClientCredentialsSession, value: Taken) -> None:
        setattr(session._token_auth, self._name, value)

    def __delete__(self, session: ClientCredentialsSession) -> None:
        delattr(session._token_auth, self._name)


class ClientCredentialsSession(OAuth2Session):
    """An OAuth2Session whose token is that of an auth object.

    Args:
        auth: which it copies, to obtain tokens through itself.
    """

    def __init__(self, auth: GopacsAuth) -> None:
        self._token_auth = auth.carried_by(self)
        self._environment = auth.environment
        # Past the parent's, which assigns what other grants need, and an auth that would switch netrc off everywhere.
        super(OAuth2Session, self).__init__()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.environment.name} client_id={self.client_id!r}>"

    environment: AuthAttribute[Environment, NoReturn] = AuthAttribute(GopacsAuth.environment)
    client_id: AuthAttribute[str, NoReturn] = AuthAttribute(GopacsAuth.client_id)
    leeway: AuthAttribute[float, float] = AuthAttribute(GopacsAuth.leeway)
    scope: AuthAttribute[Scope, Scope] = AuthAttribute(GopacsAuth.scope)
    token_timeout: AuthAttribute[Timeout, Timeout] = AuthAttribute(GopacsAuth.token_timeout)
    token_updater: AuthAttribute[Updater | None, Updater | None] = AuthAttribute(GopacsAuth.token_updater)
    token: AuthAttribute[dict[str, Any], Mapping[str, Any] | None] = AuthAttribute(GopacsAuth.token)
    auth_header: AuthAttribute[dict[str, str], NoReturn] = AuthAttribute(GopacsAuth.auth_header)

    @property
    def _client(self) -> BackendApplicationClient:
        """oauthlib's client, where the parent keeps its token; a new one for each token."""
        return self._token_auth.client

    @property
    def access_token(self) -> str | None:
        """The current access token, expired or not; None before the first."""
        return self._client.access_token

    @access_token.setter
    def access_token(self, value: str | None) -> None:
        self.token = {} if value is None else {"access_token": value}

    @access_token.deleter
    def access_token(self) -> None:
        self.token = {}

    def fetch_token(self, *, refused: str | None = None) -> dict[str, Any]:
        """As :meth:`GopacsAuth.fetch_token`; it needs none of the parent's arguments."""
        return self._token_auth.fetch_token(refused=refused)

    refresh_token = fetch_token  # There are no refresh tokens (RFC 6749 section 4.4.3).

    @contextmanager
    def ensure_authenticated(self) -> Iterator[None]:
        """For shapeshifter-uftp, whose clients take this session as their ``oauth_client``: have a usable token.

        Raises:
            TokenRequestError: no token could be obtained.
        """
        self._token_auth.get_token()
        yield

    _NO_HOOKS = "use hooks of requests, or an auth object; nothing of the user's goes to the token endpoint."
    _NO_REFRESH = "each token is renewed by the client credentials grant, at the environment's token_url."
    _NO_USER = "the client credentials grant has no user who would authorize anything."
    if not TYPE_CHECKING:  # pragma: no branch - to a type checker they are not there, as to hasattr
        client_secret = GopacsAuth.client_secret
        auto_refresh_url = Unsupported(_NO_REFRESH)
        auto_refresh_kwargs = Unsupported(_NO_REFRESH)
        compliance_hook = Unsupported(_NO_HOOKS)
        register_compliance_hook = Unsupported(_NO_HOOKS)
        redirect_uri = Unsupported(_NO_USER)
        state = Unsupported(_NO_USER)
        new_state = Unsupported(_NO_USER)
        authorization_url = Unsupported(_NO_USER)
        token_from_fragment = Unsupported(_NO_USER)
