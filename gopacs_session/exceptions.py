"""What can go wrong, and how a program tells it apart.

::

    GopacsSessionError
    ├─ ConfigurationError (ValueError)
    │   ├─ WrongEnvironmentError
    │   └─ InsecureURLError (oauthlib.oauth2.InsecureTransportError)
    └─ TokenRequestError (requests.exceptions.RequestException)
        ├─ InvalidClientError
        └─ AuthorizationServerError

A message says what failed, in which environment, and what to do. It never holds a secret, a token, or the body of an
answer; nor does any attribute or cause of the exception.
"""

from __future__ import annotations

from typing import Any

import requests.exceptions
from oauthlib.oauth2 import InsecureTransportError


class GopacsSessionError(Exception):
    """The root of every exception that this package raises itself."""


class ConfigurationError(GopacsSessionError, ValueError):
    """A setting is missing, malformed or contradictory; nothing was sent."""


class WrongEnvironmentError(ConfigurationError):
    """The URL belongs to another GOPACS environment than the session; nothing was sent to it."""


class InsecureURLError(ConfigurationError, InsecureTransportError):
    """An ``http://`` URL of a GOPACS host; nothing was sent to it.

    It is an :class:`oauthlib.oauth2.InsecureTransportError`, which requests-oauthlib raises for every ``http://`` URL.
    """

    def __init__(self, message: str) -> None:
        InsecureTransportError.__init__(self, message)
        self.args = (message,)


class TokenRequestError(GopacsSessionError, requests.exceptions.RequestException):
    """No access token could be obtained.

    It is a :class:`requests.exceptions.RequestException`, so that handlers written for requests keep working.

    Attributes:
        status_code (int | None): HTTP status of the token endpoint's last answer; None if there was none.
        error (str | None): the error code of RFC 6749 section 5.2, such as ``"invalid_scope"``.
        description (str | None): ``error_description`` of the same section, for a human.
        retry_after (float | None): seconds that the server asked to wait (RFC 9110 section 10.2.3).
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        error: str | None = None,
        description: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.error = error
        self.description = description
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError.__reduce__ would call the class with args alone; the rest comes back as state.
        return type(self), self.args, self.__dict__


class InvalidClientError(TokenRequestError):
    """The authorization server refused the client's credentials (``invalid_client``, ``unauthorized_client``)."""


class AuthorizationServerError(TokenRequestError):
    """The authorization server was unreachable, timed out, or answered 408, 425, 429 or 5xx to the last try."""
