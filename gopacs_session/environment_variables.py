"""What a session needs, read from environment variables; every fault is named at once."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from .environments import PRODUCTION, Environment, environment_of
from .exceptions import ConfigurationError, TokenRequestError

CLIENT_ID = "GOPACS_CLIENT_ID"
CLIENT_SECRET = "GOPACS_CLIENT_SECRET"
CLIENT_SECRET_FILE = "GOPACS_CLIENT_SECRET_FILE"
ENVIRONMENT = "GOPACS_ENVIRONMENT"
TOKEN_URL = "GOPACS_TOKEN_URL"
API_DOMAINS = "GOPACS_API_DOMAINS"
CA_BUNDLE = "GOPACS_CA_BUNDLE"
NAMES = (CLIENT_ID, CLIENT_SECRET, CLIENT_SECRET_FILE, ENVIRONMENT, TOKEN_URL, API_DOMAINS, CA_BUNDLE)

LARGEST_SECRET = 65536  # bytes


@dataclass(frozen=True)
class SecretFile:
    """A client secret that is read from a file for each token request, so that its rotation needs no restart."""

    path: str

    def __call__(self) -> str:
        secret, fault = self.read()
        if fault:
            raise TokenRequestError(f"No access token: the secret's file {self.path} {fault}.")
        return secret

    def read(self) -> tuple[str, str]:
        """The secret, and what is wrong with the file; one of them is empty."""
        try:
            with open(self.path, "rb") as file:
                content = file.read(LARGEST_SECRET + 1)
        except OSError as error:
            return "", f"can't be read: {error.strerror}"
        # Replaced, since a UnicodeDecodeError would hold the content. -sig: Windows' editors put a byte order mark.
        secret = content.decode("utf-8-sig", "replace")
        if len(content) > LARGEST_SECRET:
            return "", f"is larger than {LARGEST_SECRET} bytes"
        if "\ufffd" in secret:
            return "", "is not UTF-8 text"
        return (secret, "") if secret.strip() else ("", "is empty")


def read(environ: Mapping[str, str] | None, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Arguments of a session that are not given, by name, and the variables that each came from."""
    reader = _Reader(os.environ if environ is None else environ)
    readers = {"client_id": reader.client_id, "client_secret": reader.client_secret, "environment": reader.environment}
    found = {name: find() for name, find in readers.items() if name not in given}
    reader.find_misspelt_names()
    if reader.faults:
        raise ConfigurationError("\n  ".join(["The environment variables do not configure a session:", *reader.faults]))
    return {name: value for name, (value, _) in found.items()}, {name: source for name, (_, source) in found.items()}


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

    def client_id(self) -> tuple[object, str]:
        value = self._value(CLIENT_ID)
        if value is None:
            self.faults.append(f"{CLIENT_ID} is not set.")
        return value, CLIENT_ID

    def client_secret(self) -> tuple[object, str]:
        secret, path = self._value(CLIENT_SECRET), self._value(CLIENT_SECRET_FILE)
        if secret is None and path is None:
            self.faults.append(f"{CLIENT_SECRET} is not set, and neither is {CLIENT_SECRET_FILE}.")
        if secret is not None and path is not None:
            self.faults.append(f"{CLIENT_SECRET} and {CLIENT_SECRET_FILE} are both set: use one or the other.")
        if not path:
            return secret, CLIENT_SECRET
        file = SecretFile(os.path.abspath(path))  # The process may change its directory.
        _, fault = file.read()
        if fault:
            # The value may be the secret itself, in the wrong variable.
            named = path if os.path.isdir(os.path.dirname(path)) else "a file"
            self.faults.append(f"{CLIENT_SECRET_FILE} names {named}, which {fault}.")
        return file, CLIENT_SECRET_FILE

    def environment(self) -> tuple[object, str]:
        name, url, domains = self._value(ENVIRONMENT), self._value(TOKEN_URL), self._value(API_DOMAINS)
        if name is not None and (url is not None or domains is not None):
            self.faults.append(f"{ENVIRONMENT} goes without {TOKEN_URL} and {API_DOMAINS}: unset it, or these two.")
        elif (url is None) != (domains is None):
            self.faults.append(f"{TOKEN_URL if domains else API_DOMAINS} is not set: the two go together.")
        default = f"the default, since {ENVIRONMENT} is not set"
        source = f"{TOKEN_URL} and {API_DOMAINS}" if url and domains else ENVIRONMENT if name else default
        environment = PRODUCTION
        try:
            environment = self._custom(url, domains) if url and domains else environment_of(name or PRODUCTION)
        except ConfigurationError as error:
            self.faults.append(f"{source}: {error}")
        return replace(environment, ca_bundle=self._ca_bundle()), source

    def _custom(self, url: str, domains: str) -> Environment:
        hosts = tuple(host.strip() for host in domains.split(",") if host.strip())
        environment = replace(Environment("custom", url, hosts), name=urlsplit(url).netloc)
        dotless = [host for host in hosts if "." not in host and host != "localhost" and host[0] != "["]
        if dotless and "." in environment.name:  # In a local network neither has one.
            self.faults.append(f"{API_DOMAINS} has a name without a dot: is there a comma for a dot?")
        return environment

    def _ca_bundle(self) -> str | None:
        value = self._value(CA_BUNDLE)
        if not value:
            return None
        path = os.path.abspath(value)
        try:
            if not os.path.isdir(path):
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except OSError as error:
            fault = "holds no certificate (PEM)" if isinstance(error, ssl.SSLError) else f"fails: {error.strerror}"
            self.faults.append(f"{CA_BUNDLE} names {path}, which {fault}.")
        return path

    def find_misspelt_names(self) -> None:
        """Note variables whose names resemble ours; where something is wrong, any other of GOPACS's, too."""
        for name in sorted(self._environ):
            if name.startswith("GOPACS_") and name not in NAMES:
                near = get_close_matches(name, NAMES, 1, 0.6 if self.faults else 0.9)
                if near or self.faults:
                    self.faults.append(f"{name} is not known{f': did you mean {near[0]}?' if near else '.'}")
