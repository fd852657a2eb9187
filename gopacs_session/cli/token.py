"""``gopacs-session token``: print an access token; and where it, and ``check``, find the credentials."""

import os
import sys
from argparse import Namespace
from contextlib import suppress
from getpass import getpass
from typing import Any

from .. import environment_variables as variables
from ..exceptions import ConfigurationError
from ..session import GopacsSession
from .terminal import ExitCode, complain, warnings_to


def run(options: Namespace) -> ExitCode:
    """Print it."""
    with warnings_to(complain), GopacsSession(**configure(options)[0]) as session:
        access_token = session.fetch_token()["access_token"]
    print(f"{'Authorization: Bearer ' if options.header else ''}{access_token}")
    return ExitCode.SUCCESS


def configure(options: Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """The arguments of a session, and where each is from."""
    has_none = {variables.CLIENT_SECRET, variables.CLIENT_SECRET_FILE}.isdisjoint(os.environ)
    at_terminal = sys.stdin is not None and sys.stdin.isatty()
    asks = options.secret_stdin or (has_none and at_terminal)
    # Before anybody types a secret only to learn that something else is wrong.
    arguments, sources = variables.read(None, {"client_secret": None} if asks else {})
    if asks:
        arguments["client_secret"] = _typed(arguments["client_id"]) if at_terminal else _piped()
        sources["client_secret"] = "the prompt" if at_terminal else "--secret-stdin"
    return arguments, sources


def _typed(client_id: str) -> str:
    with suppress(EOFError):  # Ctrl-D
        if (secret := getpass(f"Secret of {client_id} (it will not show): ")).strip():
            return secret
    raise ConfigurationError("No secret was typed.")


def _piped() -> str:
    content = b"" if sys.stdin is None else sys.stdin.buffer.read(variables.LARGEST_SECRET)
    # Replaced, since a UnicodeDecodeError would hold what may be the secret.
    secret = content.decode("utf-8-sig", "replace")
    if "\ufffd" in secret or not secret.strip():
        raise ConfigurationError("--secret-stdin: standard input is closed, empty, or no UTF-8 text.")
    return secret
