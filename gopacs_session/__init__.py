"""GOPACS's APIs as if through plain requests: a session that obtains, carries and renews its access token."""

from .auth import GopacsAuth as GopacsAuth
from .environments import ACCEPTANCE as ACCEPTANCE
from .environments import PRODUCTION as PRODUCTION
from .environments import Environment as Environment
from .exceptions import AuthorizationServerError as AuthorizationServerError
from .exceptions import ConfigurationError as ConfigurationError
from .exceptions import GopacsSessionError as GopacsSessionError
from .exceptions import InsecureURLError as InsecureURLError
from .exceptions import InvalidClientError as InvalidClientError
from .exceptions import TokenRequestError as TokenRequestError
from .exceptions import WrongEnvironmentError as WrongEnvironmentError
from .session import GopacsSession as GopacsSession

__version__ = "0.1.0"

__all__ = [
    "ACCEPTANCE",
    "PRODUCTION",
    "AuthorizationServerError",
    "ConfigurationError",
    "Environment",
    "GopacsAuth",
    "GopacsSession",
    "GopacsSessionError",
    "InsecureURLError",
    "InvalidClientError",
    "TokenRequestError",
    "WrongEnvironmentError",
]
