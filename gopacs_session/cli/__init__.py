"""The command ``gopacs-session``: its words and options, and how it ends."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

from .. import __version__
from ..exceptions import ConfigurationError, TokenRequestError
from .terminal import ExitCode, complain, verdict

PURPOSE = "Access tokens for the APIs of GOPACS, and a sandbox to try them on."
EPILOG = """\
environment variables:
  GOPACS_CLIENT_ID           the API client's name
  GOPACS_CLIENT_SECRET       its key; or
  GOPACS_CLIENT_SECRET_FILE  a file with the key
  GOPACS_ENVIRONMENT         acceptance, or production (the default); or
  GOPACS_TOKEN_URL           another token endpoint, with
  GOPACS_API_DOMAINS         its API hosts, separated by commas
  GOPACS_CA_BUNDLE           CA certificates to trust for GOPACS alone (PEM)

exit codes:
  0    it worked
  1    the demo went wrong, or the command broke down
  2    wrong usage or configuration; check found this machine's clock off
  3    the authorization server refused the credentials
  6    the authorization server is unavailable, or gave no token
  130  interrupted, by Ctrl-C
  141  nobody reads the output any more
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv`, or else with the process's arguments, and return its exit code.

    After wrong usage, ``--help`` and ``--version``, argparse raises SystemExit.
    """
    if sys.stdout is None:
        complain("Standard output is closed.")
        return ExitCode.BROKEN_PIPE
    if isinstance(sys.stdout, TextIOWrapper):  # pragma: no branch - Others take any character.
        sys.stdout.reconfigure(errors="namereplace")  # Not every encoding has a ✓.
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()  # While what it raises can still be dealt with: help may have been printed.
    except KeyboardInterrupt:
        complain("Interrupted.")
        return ExitCode.INTERRUPTED
    except OSError as error:
        nobody_reads = isinstance(error, BrokenPipeError)
        if not nobody_reads:
            complain(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))
        # What is left to write would have the interpreter complain at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in filter(None, (sys.stdout, sys.stderr)):
            os.dup2(nowhere, stream.fileno())
        return ExitCode.BROKEN_PIPE if nobody_reads else ExitCode.FAILURE


def _run(argv: Sequence[str] | None) -> ExitCode:
    options = parser().parse_args(argv)
    if options.command is None:
        parser().print_help(sys.stderr)
        return ExitCode.CONFIGURATION
    try:
        # Here, since two of them need an extra, and a token should not wait for the others.
        code: ExitCode = import_module(f".{options.command}", __name__).run(options)
    except (ConfigurationError, TokenRequestError) as error:
        text, code = verdict(error)
        complain(text)
    return code


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse quotes what it has no use for, which may be a secret in the wrong place.
        quoted = r"(choice|value|arguments|explicit argument):? (.*(?= \(choose)|.*)"
        super().error(re.sub(quoted, r"\1", message, flags=re.DOTALL))


def parser() -> argparse.ArgumentParser:
    """All commands and options."""
    raw = argparse.RawDescriptionHelpFormatter
    program = _Parser("gopacs-session", description=PURPOSE, epilog=EPILOG, formatter_class=raw, allow_abbrev=False)
    program.add_argument("--version", action="version", version=f"gopacs-session {__version__}")
    commands = program.add_subparsers(title="commands", metavar="COMMAND", dest="command")

    def add(name: str, purpose: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=purpose, description=f"{purpose}.", allow_abbrev=False)

    token = add("token", "Print an access token")
    token.add_argument("--header", action="store_true", help="print a whole Authorization header")
    check = add("check", "Find out why it does not work")
    check.add_argument("--json", action="store_true", help="print a report for programs")
    for command in (token, check):
        text = "read the secret from standard input; a terminal asks for it"
        command.add_argument("--secret-stdin", action="store_true", help=text)
    sandbox = add("sandbox", "Run a local authorization server and API in the foreground")
    sandbox.add_argument("--port", type=int, default=8443, help="where to listen (default: %(default)s)")
    text = "run nothing; print what another shell (sh or powershell) evaluates to point its programs at this port"
    sandbox.add_argument("--export", nargs="?", choices=("sh", "powershell"), const="sh", metavar="SHELL", help=text)
    add("demo", "Show a session at work on a sandbox, in 12 seconds")
    return program
