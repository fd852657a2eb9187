"""The words and options of ``gopacs-session``."""

import argparse
import re
from typing import NoReturn

from .. import __version__
from ..environments import PRESETS

SANDBOX_PORT = 8443
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
  NO_COLOR                   set to anything: no colours

exit codes:
  0    it worked
  1    the demo went wrong, or the command broke down
  2    wrong usage or configuration; check found this machine's clock off
  3    the authorization server refused the credentials
  6    the authorization server is unavailable, or gave no token
  130  interrupted, by Ctrl-C
  141  nobody reads the output any more
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse quotes what it has no use for, which may be a secret in the wrong place.
        quoted = r"(choice|arguments|explicit argument):? (.*(?= \(choose)|.*)"
        super().error(re.sub(quoted, r"\1", message, flags=re.DOTALL))


def parser() -> argparse.ArgumentParser:
    """All commands and options."""
    raw = argparse.RawDescriptionHelpFormatter
    program = _Parser("gopacs-session", description=PURPOSE, epilog=EPILOG, formatter_class=raw, allow_abbrev=False)
    program.add_argument("--version", action="version", version=f"gopacs-session {__version__}")
    commands = program.add_subparsers(title="commands", metavar="COMMAND", dest="command")

    def add(name: str, purpose: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.", allow_abbrev=False
        )

    token = add("token", "print an access token")
    token.add_argument("--header", action="store_true", help="print a whole Authorization header")
    check = add("check", "find out why it does not work")
    check.add_argument("--json", action="store_true", help="print a report for programs")
    for command in (token, check):
        _add_credentials(command)
    _add_sandbox_options(add("sandbox", "run a local authorization server and API in the foreground"))
    add("demo", "show a session at work on a sandbox, in 12 seconds")
    return program


def _add_credentials(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("credentials", "from the environment, unless an option says otherwise")
    group.add_argument("--client-id", metavar="NAME", help="the API client's name")
    names = [environment.name for environment in PRESETS]
    group.add_argument("--environment", type=str.lower, choices=names, help="which GOPACS; production by default")
    text = "read the secret from standard input; a terminal asks for it"
    group.add_argument("--secret-stdin", action="store_true", help=text)


def _add_sandbox_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--port", type=_port, default=SANDBOX_PORT, help="where to listen (default: %(default)s)")
    text = "seconds that a token lives (default: 300)"
    command.add_argument("--token-lifetime", type=_seconds, default=300.0, metavar="S", help=text)
    text = "run nothing; print what another shell (sh or powershell) evaluates to point its programs at this port"
    command.add_argument("--export", nargs="?", choices=("sh", "powershell"), const="sh", metavar="SHELL", help=text)


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError("it must be a number from 1 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", text) or float(text) == 0:
        raise argparse.ArgumentTypeError("it must be a positive number of seconds")
    return float(text)
