"""What each command does: it takes its options and returns its exit code."""

import json
import os
import sys
from argparse import Namespace
from contextlib import suppress
from typing import Any

from .. import environment_variables as variables
from ..exceptions import ConfigurationError
from .errors import ExitCode
from .terminal import complain, warnings_to


def token(options: Namespace) -> ExitCode:
    """Print an access token."""
    from ..session import GopacsSession

    with warnings_to(complain), GopacsSession(**configure(options)[0]) as session:
        access_token = session.fetch_token()["access_token"]
    print(f"{'Authorization: Bearer ' if options.header else ''}{access_token}")
    return ExitCode.SUCCESS


def check(options: Namespace) -> ExitCode:
    """Print what works and what does not, step by step."""
    from .check import diagnose

    steps = []
    with warnings_to(complain):
        for step in diagnose(lambda: configure(options)):
            steps.append(step)
            if not options.json:
                step.show()
    code = next((step.code for step in steps if step.code), ExitCode.SUCCESS)
    if options.json:
        report = {"passed": code == ExitCode.SUCCESS, "steps": [step._asdict() for step in steps]}
        print(json.dumps(report, indent=2))
    return code


def demo(options: Namespace) -> ExitCode:
    """Play the demo."""
    from .demo import Demo

    return ExitCode.SUCCESS if Demo().run() else ExitCode.FAILURE


def sandbox(options: Namespace) -> ExitCode:
    """Run a sandbox until Ctrl-C, or print what points another shell's programs at it."""
    from . import sandbox

    if options.export:
        sandbox.export(options.port, options.export)
    else:
        sandbox.serve(options.port, options.token_lifetime)
    return ExitCode.SUCCESS


def configure(options: Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """The arguments of a session, and where each is from; options win over variables."""
    environ, given, sources = dict(os.environ), {}, {}
    if options.client_id is not None:
        given["client_id"], sources["client_id"] = options.client_id, "--client-id"
    if options.environment:
        for name in (variables.TOKEN_URL, variables.API_DOMAINS):
            environ.pop(name, None)
        environ[variables.ENVIRONMENT], sources["environment"] = options.environment, "--environment"
    has_none = {variables.CLIENT_SECRET, variables.CLIENT_SECRET_FILE}.isdisjoint(environ)
    at_terminal = sys.stdin is not None and sys.stdin.isatty()
    asks = options.secret_stdin or (has_none and at_terminal)
    if asks:
        given["client_secret"] = None
    # Before anybody types a secret only to learn that something else is wrong.
    found, found_in = variables.read(environ, given)
    arguments = {**found, **given}
    if asks:
        arguments["client_secret"] = _typed(arguments["client_id"]) if at_terminal else _piped()
        sources["client_secret"] = "the prompt" if at_terminal else "--secret-stdin"
    return arguments, {**found_in, **sources}


def _typed(client_id: str) -> str:
    from getpass import getpass

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
