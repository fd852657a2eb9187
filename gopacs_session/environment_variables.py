"""What a session needs, read from environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from .environments import PRESETS, PRODUCTION, Environment, preset
from .exceptions import ConfigurationError
from .tracebacks import leaving_no_locals

CLIENT_ID = "GOPACS_CLIENT_ID"
CLIENT_SECRET = "GOPACS_CLIENT_SECRET"
CLIENT_SECRET_FILE = "GOPACS_CLIENT_SECRET_FILE"
ENVIRONMENT = "GOPACS_ENVIRONMENT"
TOKEN_URL = "GOPACS_TOKEN_URL"
API_DOMAINS = "GOPACS_API_DOMAINS"
CA_BUNDLE = "GOPACS_CA_BUNDLE"
NAMES = (CLIENT_ID, CLIENT_SECRET, CLIENT_SECRET_FILE, ENVIRONMENT, TOKEN_URL, API_DOMAINS, CA_BUNDLE)
OPTIONS = (
    "client_id", "client_secret", "environment", "scope", "leeway", "token_timeout", "timeout", "token_updater"
)  # fmt: skip


@dataclass(frozen=True)
class SecretFile:
    """A client secret that is read from a file whenever a token is asked for, so that its rotation needs no restart.

    Args:
        path: of a UTF-8 text file; line ends after the secret are no part of it.
    """

    path: str

    def __call__(self) -> str:
        """The secret.

        Raises:
            OSError: the file cannot be read.
            UnicodeDecodeError: it is not valid UTF-8. This exception holds the file's content.
        """
        with open(self.path, encoding="utf-8-sig") as file:  # -sig: Windows' editors put a byte order mark.
            return file.read().rstrip("\r\n")


@dataclass(frozen=True)
class Configuration:
    """Arguments of :class:`GopacsSession`, and where each was found.

    Attributes:
        arguments: by name, the secret among them.
        sources: by the same names, the variables that they came from.
    """

    arguments: Mapping[str, Any] = field(repr=False)
    sources: Mapping[str, str]


@leaving_no_locals
def read(environ: Mapping[str, str] | None = None, given: Mapping[str, Any] | None = None) -> Configuration:
    """The id, secret and environment that the variables name.

    Args:
        environ: what to read instead of :data:`os.environ`.
        given: arguments that come from elsewhere: their variables are not looked at.

    Raises:
        ConfigurationError: it names every variable that is missing, contradictory or unreadable, and no value but the
            paths of files.
    """
    reader, given = _Reader(os.environ if environ is None else environ), given or {}
    readers = {"client_id": reader.client_id, "client_secret": reader.client_secret, "environment": reader.environment}
    found = {name: find() for name, find in readers.items() if name not in given}
    if reader.faults:
        # A misspelt argument is why its variable was looked for. Else the class refuses it, or a subclass takes it.
        faults = [_unknown(name) for name in given if name not in OPTIONS] + reader.faults
        raise ConfigurationError("\n  ".join(["The environment variables configure no session:", *faults]))
    return Configuration(
        {name: value for name, (value, _) in found.items()}, {name: source for name, (_, source) in found.items()}
    )


def variables(client_id: str, client_secret: str, environment: Environment) -> dict[str, str]:
    """The variables from which :func:`read` makes these arguments."""
    values = {
        CLIENT_ID: client_id,
        CLIENT_SECRET: client_secret,
        TOKEN_URL: environment.token_url,
        API_DOMAINS: ",".join(environment.api_domains),
    }
    return values if environment.ca_bundle is None else {**values, CA_BUNDLE: environment.ca_bundle}


class _Reader:
    """Each method returns a value and its source, and notes what is wrong."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.faults: list[str] = []

    def _value(self, name: str) -> str | None:
        value = self._environ.get(name)
        if value is not None and not value.strip():
            self.faults.append(f"{name} is empty.")
            return ""
        return value if value is None or name == CLIENT_SECRET else value.strip()

    def client_id(self) -> tuple[str | None, str]:
        value = self._value(CLIENT_ID)
        if value is None:
            self.faults.append(f"{CLIENT_ID} is not set.")
        return value, CLIENT_ID

    def client_secret(self) -> tuple[str | SecretFile | None, str]:
        secret, path = self._value(CLIENT_SECRET), self._value(CLIENT_SECRET_FILE)
        if secret is None and path is None:
            self.faults.append(f"{CLIENT_SECRET} is not set, and neither is {CLIENT_SECRET_FILE}.")
        if secret is not None and path is not None:
            self.faults.append(f"{CLIENT_SECRET} and {CLIENT_SECRET_FILE} are both set: use one or the other.")
        if not path:
            return secret and secret.rstrip("\r\n"), CLIENT_SECRET
        file = SecretFile(os.path.abspath(path))  # The process may change its directory.
        fault = _fault(file)
        if fault:
            self.faults.append(f"{CLIENT_SECRET_FILE} names {_quotable(path)}, which {fault}.")
        return file, CLIENT_SECRET_FILE

    def environment(self) -> tuple[Environment | None, str]:
        environment, source = self._environment_itself()
        path = self._value(CA_BUNDLE)
        if path:
            path = os.path.abspath(path)
            environment = environment and replace(environment, ca_bundle=path)
            if not os.path.exists(path):
                self.faults.append(f"{CA_BUNDLE} names {path}, which does not exist.")
        return environment, source

    def _environment_itself(self) -> tuple[Environment | None, str]:
        name, url, domains = self._value(ENVIRONMENT), self._value(TOKEN_URL), self._value(API_DOMAINS)
        own = [variable for variable, value in {TOKEN_URL: url, API_DOMAINS: domains}.items() if value is not None]
        if name is not None and own:
            self.faults.append(f"{ENVIRONMENT} is set together with {' and '.join(own)}: use one or the other.")
        elif len(own) == 1:
            [missing] = {TOKEN_URL, API_DOMAINS}.difference(own)
            self.faults.append(f"{own[0]} is set without {missing}.")
        named, custom = self._named(name or ""), self._custom(url or "", domains or "")
        if own:
            return custom, f"{TOKEN_URL} and {API_DOMAINS}"
        return (PRODUCTION, "the default") if name is None else (named, ENVIRONMENT)

    def _named(self, name: str) -> Environment | None:
        try:
            return preset(name) if name else None
        except ConfigurationError:  # Its message offers to pass an Environment, which a variable can't hold.
            choices = " nor ".join(choice.name for choice in PRESETS)
            self.faults.append(f"{ENVIRONMENT} is neither {choices}.")
            return None

    def _custom(self, url: str, domains: str) -> Environment | None:
        hosts = tuple(host.strip() for host in domains.split(",") if host.strip())
        if url and not _is_environment(url, ("localhost",)):
            self.faults.append(f"{TOKEN_URL} is not a plain https:// URL.")
        if domains and not _is_environment("https://localhost", hosts):
            self.faults.append(f"{API_DOMAINS} is not a list of host names, separated by commas.")
        return Environment(urlsplit(url).netloc, url, hosts) if url and hosts and not self.faults else None


def _is_environment(token_url: str, api_domains: tuple[str, ...]) -> bool:
    try:
        Environment("custom", token_url, api_domains)
    except ConfigurationError:
        return False
    return True


def _fault(file: SecretFile) -> str | None:
    """What is wrong with a file that a secret is to be read from."""
    try:
        return None if file().strip() else "is empty"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ValueError:
        return "is not UTF-8 text"


def _quotable(path: str) -> str:
    """A path, or where it leads to if it might be the secret itself, in the wrong variable."""
    looks_like_a_path = os.path.isabs(path) or os.path.isdir(os.path.dirname(path) or path)
    return path if looks_like_a_path else f"a file in {os.getcwd()}"


def _unknown(name: str) -> str:
    from difflib import get_close_matches  # Here, since hardly a program needs it.

    near = get_close_matches(name, OPTIONS, 1)
    return f"{name} is not an option{f': did you mean {near[0]}?' if near else '.'}"
