"""The commands that need credentials, and where they find them. Each takes its options and returns its exit code.

What a command does not need it does not import, so that ``token`` starts fast.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace

from .. import environment_variables
from ..environment_variables import Configuration
from ..exceptions import ConfigurationError
from ..session import GopacsSession
from .exit_code import ExitCode


def token(options: Namespace) -> ExitCode:
    """Print an access token."""
    from .route import Route

    with GopacsSession(**configure(options).arguments) as session:
        Route.to(session.environment.token_url, session)  # For what is wrong with a proxy's URL.
        answer = session.fetch_token()
    if options.json:
        text = json.dumps({name: value for name, value in answer.items() if name != "refresh_token"}, indent=2)
    else:
        text = f"Authorization: Bearer {answer['access_token']}" if options.header else answer["access_token"]
    sys.stdout.write(f"{text}\n")
    return ExitCode.SUCCESS


def check(options: Namespace) -> ExitCode:
    """Print what works and what does not, step by step."""
    from .check import diagnose

    steps = []
    for step in diagnose(lambda: configure(options)):
        steps.append(step)
        if not options.json:
            step.show()
    code = next((step.code for step in steps if step.code), ExitCode.SUCCESS)
    if options.json:
        report = {"passed": code == ExitCode.SUCCESS, "steps": [step.report() for step in steps]}
        sys.stdout.write(f"{json.dumps(report, indent=2)}\n")
    return code


def request(options: Namespace) -> ExitCode:
    """Send a request, and print the answer's body."""
    from .request import exchange

    return exchange(options, configure(options).arguments)


def configure(options: Namespace) -> Configuration:
    """The arguments of a session; options win over variables.

    Raises:
        ConfigurationError: they are incomplete or wrong.
    """
    environ, sources, given = dict(os.environ), {}, {}
    if options.client_id:
        environ[environment_variables.CLIENT_ID] = options.client_id
        sources["client_id"] = "--client-id"
    if options.environment:
        for name in (environment_variables.TOKEN_URL, environment_variables.API_DOMAINS):
            environ.pop(name, None)
        environ[environment_variables.ENVIRONMENT] = options.environment
        sources["environment"] = "--environment"
    variables = (environment_variables.CLIENT_SECRET, environment_variables.CLIENT_SECRET_FILE)
    asked = options.secret_stdin or not any(name in environ for name in variables)
    typed = asked and sys.stdin is not None and sys.stdin.isatty()
    if typed or options.secret_stdin:
        # Whatever else is wrong is told before anyone types a secret.
        client_id = environment_variables.read(environ, {"client_secret": None}).arguments["client_id"]
        given["client_secret"] = _prompt(client_id) if typed else _from_stdin()
        sources["client_secret"] = "the prompt" if typed else "--secret-stdin"
    found = environment_variables.read(environ, given)
    return Configuration({**found.arguments, **given}, {**found.sources, **sources})


def _prompt(client_id: str) -> str:
    from getpass import getpass

    try:
        secret = getpass(f"Secret of {client_id} (it will not show): ")
    except EOFError:  # Ctrl-D
        sys.stderr.write("\n")
        secret = ""
    if not secret.strip():
        raise ConfigurationError("No secret was typed.")
    return secret


def _from_stdin() -> str:
    try:
        secret = standard_input().decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        secret = None  # Raised below, since this exception holds what may be the secret.
    if secret is None:
        raise ConfigurationError("--secret-stdin: standard input is not UTF-8 text.")
    if not secret.strip():
        raise ConfigurationError("--secret-stdin: standard input is empty.")
    return secret


def standard_input() -> bytes:
    """All of it.

    Raises:
        ConfigurationError: it is closed.
    """
    if sys.stdin is None:
        raise ConfigurationError("Standard input is closed.")
    return sys.stdin.buffer.read()
