"""What the command exits with, and says, on account of an error."""

from enum import IntEnum

from ..exceptions import ConfigurationError, InvalidClientError, TokenRequestError


class ExitCode(IntEnum):
    """``--help`` has their meanings."""

    SUCCESS = 0
    FAILURE = 1
    CONFIGURATION = 2
    CREDENTIALS_REFUSED = 3
    NO_TOKEN = 6
    INTERRUPTED = 130
    BROKEN_PIPE = 141


def verdict(error: ConfigurationError | TokenRequestError) -> tuple[str, ExitCode]:
    """Its own words with those of the authorization server below them, and the exit code."""
    if isinstance(error, ConfigurationError):
        return str(error), ExitCode.CONFIGURATION
    code = ExitCode.CREDENTIALS_REFUSED if isinstance(error, InvalidClientError) else ExitCode.NO_TOKEN
    return f"{error}\n{': '.join(filter(None, (error.error, error.description)))}".strip(), code
