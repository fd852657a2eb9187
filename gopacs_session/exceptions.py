"""What can go wrong. No message holds a secret or a token.

::

    GopacsSessionError
    ├─ ConfigurationError (ValueError)
    │   ├─ WrongEnvironmentError
    │   └─ InsecureURLError (oauthlib.oauth2.InsecureTransportError)
    └─ TokenRequestError (requests.exceptions.RequestException)
        ├─ InvalidClientError
        └─ AuthorizationServerError
"""

import re
import ssl
from collections.abc import Iterator
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
    """An ``http://`` URL of a GOPACS host, as requests-oauthlib raises it for any; nothing was sent to it."""

    __init__ = ConfigurationError.__init__  # Since Python 3.14 it would be oauthlib's, which changes the message.


class TokenRequestError(GopacsSessionError, requests.exceptions.RequestException):
    """No access token could be obtained. Handlers written for requests catch it, too."""

    status_code: int | None = None  #: HTTP status of the token endpoint's last answer; None if there was none
    error: str | None = None  #: the error code of RFC 6749 section 5.2, such as ``"invalid_scope"``
    description: str | None = None  #: ``error_description`` of the same section, for a human
    retry_after: float | None = None  #: seconds that the server asked to wait (RFC 9110 section 10.2.3)

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        vars(self).update(facts)

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError.__reduce__ would call the class with args alone; the rest comes back as state.
        return type(self), self.args, self.__dict__


class InvalidClientError(TokenRequestError):
    """The authorization server refused the client's credentials (``invalid_client``, ``unauthorized_client``)."""


class AuthorizationServerError(TokenRequestError):
    """The authorization server was unreachable, timed out, or answered 408, 425, 429 or 5xx to the last try."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it wraps, what that wraps, and so on: requests wraps urllib3, which wraps the system."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        # Not __context__: that is whatever the caller was handling when it sent the request.
        inner = (getattr(cause, "reason", None), *cause.args, cause.__cause__)
        cause = next((part for part in inner if isinstance(part, BaseException)), None)


def why(error: BaseException) -> str:
    """What is safe to quote of a connection error: other words may be those of an answer, with a token in it."""
    *_, cause = causes(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return str(cause.verify_message)
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    refusal = re.match(r"Tunnel connection failed: (\d{3})\b", str(cause))
    return f"the proxy answered {refusal[1]}" if refusal else type(cause).__name__
