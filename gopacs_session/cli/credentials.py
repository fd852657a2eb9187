"""Whom the command line acts for: the environment variables, its options, and a secret that is in neither."""

from __future__ import annotations

import os
import sys
from argparse import Namespace

from .. import environment_variables
from ..environment_variables import Configuration
from ..exceptions import ConfigurationError


def configure(options: Namespace) -> Configuration:
    """The arguments of a session; options win over variables.

    Raises:
        ConfigurationError: they are incomplete or wrong.
    """
    given = {name: getattr(options, name) for name in ("client_id", "environment") if getattr(options, name)}
    sources = {name: f"--{name.replace('_', '-')}" for name in given}
    variables = (environment_variables.CLIENT_SECRET, environment_variables.CLIENT_SECRET_FILE)
    typed = sys.stdin.isatty() and (options.secret_stdin or not any(name in os.environ for name in variables))
    if typed or options.secret_stdin:
        # Whatever else is wrong is told before anyone types a secret.
        found = environment_variables.read(given={**given, "client_secret": None})
        client_id = {**found.arguments, **given}["client_id"]
        given["client_secret"] = _prompt(client_id) if typed else _from_stdin()
        sources["client_secret"] = "the prompt" if typed else "--secret-stdin"
    found = environment_variables.read(given=given)
    return Configuration({**found.arguments, **given}, {**found.sources, **sources})


def _prompt(client_id: str) -> str:
    from getpass import getpass  # Here, since most commands have no use for it.

    secret = getpass(f"Secret of {client_id} (it will not show): ")
    if not secret.strip():
        raise ConfigurationError("No secret was typed.")
    return secret


def _from_stdin() -> str:
    try:
        secret = sys.stdin.buffer.read().decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        secret = ""  # The exception would hold it.
    if not secret.strip():
        raise ConfigurationError("--secret-stdin found no UTF-8 text on standard input.")
    return secret
