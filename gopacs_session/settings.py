"""What can be read and set on an auth object, and how it is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oauthlib.oauth2 import BackendApplicationClient

from .environments import Environment
from .grant import ClientCredentialsGrant, Scope, check_scope
from .renewal import Updater, check_updater
from .timeouts import Timeout, check_seconds, check_timeout
from .tokens import CurrentToken
from .unsupported import Unsupported


class Settings:
    """The settings of a grant, and of the tokens that it brings."""

    _grant: ClientCredentialsGrant
    _tokens: CurrentToken

    @property
    def environment(self) -> Environment:
        """It can't be changed, since a token belongs to one environment."""
        return self._grant.environment

    @property
    def client_id(self) -> str:
        """It can't be changed, since a token belongs to one client."""
        return self._grant.client_id

    if not TYPE_CHECKING:  # pragma: no branch - to a type checker it is not there, as to hasattr
        client_secret = Unsupported("a callable given as client_secret is called for each token request.")

    @property
    def leeway(self) -> float:
        """Seconds before its expiry from which a token is renewed in the background, for tokens to come."""
        return self._tokens.leeway

    @leeway.setter
    def leeway(self, leeway: float) -> None:
        check_seconds("leeway", leeway, least=0)
        self._tokens.leeway = leeway

    @property
    def scope(self) -> Scope:
        """Scopes to ask for from the next token request on."""
        return self._grant.scope

    @scope.setter
    def scope(self, scope: Scope) -> None:
        check_scope(scope)
        self._grant.scope = scope

    @property
    def token_timeout(self) -> Timeout:
        """Seconds for one try at the token endpoint, or a pair of seconds to connect and to read."""
        return self._grant.timeout

    @token_timeout.setter
    def token_timeout(self, timeout: Timeout) -> None:
        check_timeout("token_timeout", timeout)
        self._grant.timeout = timeout

    @property
    def token_updater(self) -> Updater | None:
        """Called with each new token, a dict, by the thread that renewed it."""
        return self._tokens.updater

    @token_updater.setter
    def token_updater(self, updater: Updater | None) -> None:
        check_updater(updater)
        self._tokens.updater = updater

    @property
    def token(self) -> dict[str, Any]:
        """The current token answer, expired or not; empty before the first. A stored one can be assigned.

        Raises:
            ConfigurationError: what is assigned holds no access token.
        """
        return self._tokens.answer

    @token.setter
    def token(self, answer: Mapping[str, Any] | None) -> None:
        self._tokens.put(answer)

    @property
    def client(self) -> BackendApplicationClient:
        """oauthlib's client, a new one for each token."""
        return self._tokens.client
