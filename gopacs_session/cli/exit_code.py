"""What the exit code of ``gopacs-session`` tells a script."""

from __future__ import annotations

from enum import IntEnum

from oauthlib.oauth2 import InsecureTransportError
from requests import RequestException

from ..exceptions import InvalidClientError, TokenRequestError


class ExitCode(IntEnum):
    """Each code has a `meaning`, which ``--help`` prints."""

    meaning: str

    SUCCESS = 0, "it worked"
    FAILURE = 1, "the demo went wrong, or the command broke down"
    CONFIGURATION = 2, "wrong usage or configuration; check found this machine's clock off"
    CREDENTIALS_REFUSED = 3, "the authorization server refused the credentials"
    API_CLIENT_ERROR = 4, "the API answered 4xx"
    API_SERVER_ERROR = 5, "the API answered 5xx"
    NO_TOKEN = 6, "the authorization server is unavailable, or gave no token"
    API_UNAVAILABLE = 7, "the API is out of reach, or its answer broke off"
    INTERRUPTED = 130, "interrupted, by Ctrl-C"
    BROKEN_PIPE = 141, "nobody reads the output any more"

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


def of_error(error: BaseException) -> ExitCode:
    """The code of a command that ended with one of the errors that :func:`gopacs_session.cli.main` expects."""
    if isinstance(error, InvalidClientError):
        return ExitCode.CREDENTIALS_REFUSED
    if isinstance(error, TokenRequestError):
        return ExitCode.NO_TOKEN
    if isinstance(error, InsecureTransportError) or not isinstance(error, RequestException):
        return ExitCode.CONFIGURATION
    # requests makes what is wrong with the arguments, such as InvalidURL, a ValueError, too.
    return ExitCode.CONFIGURATION if isinstance(error, ValueError) else ExitCode.API_UNAVAILABLE


def of_status(status: int) -> ExitCode:
    """The code that tells an API's HTTP status."""
    if status < 400:
        return ExitCode.SUCCESS
    return ExitCode.API_CLIENT_ERROR if status < 500 else ExitCode.API_SERVER_ERROR
