"""The words and options of ``gopacs-session``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn
from urllib.parse import urlsplit

from .. import __version__
from ..environments import PRESETS
from .exit_code import ExitCode

DESCRIPTION = "Access tokens and requests for the APIs of GOPACS."
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
"""
EPILOG += "\n".join(f"  {code:<3}  {code.meaning}" for code in ExitCode)
COMPLETE_FILES = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}  # as shtab.FILE
SANDBOX_PORT = 8443
ONLINE, LOCAL = ".commands", ".local_commands"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse quotes what it has no use for, which may be a secret in the wrong place.
        message = re.sub(r"invalid choice: .*(?= \(choose)", "invalid choice", message, flags=re.DOTALL)
        super().error(re.sub(r"ignored explicit argument .*", "it takes no value", message, flags=re.DOTALL))


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command and its options, of `argv` or else of the process's arguments.

    Raises:
        SystemExit: ``--help``, ``--version``, or wrong usage, which has been told with the command's own usage.
    """
    program = parser()
    options, rest = program.parse_known_args(argv)
    command = getattr(options, "parser", program)
    unknown = [word for word in rest if len(word) > 1 and word[0] == "-"]
    if unknown:
        command.error(f"unknown option {re.match('--[^=]*|..', unknown[0])[0]}")  # type: ignore[index]
    if "words" in options:
        # argparse gives a positional only what stands before the next option.
        _method_and_url(options, [*options.words, *rest])
    elif rest:
        command.error("there are more arguments than it takes")
    return options


def _method_and_url(options: argparse.Namespace, words: list[str]) -> None:
    if len(words) > (1 if options.method else 2):
        options.parser.error("it takes one URL, and a METHOD before it or after -X")
    has_body = options.data is not None or options.json is not None
    try:
        options.method = options.method or _method(words[0] if len(words) > 1 else "POST" if has_body else "GET")
        options.url = _url(words[-1])
    except argparse.ArgumentTypeError as error:
        options.parser.error(str(error))


def parser() -> argparse.ArgumentParser:
    """All commands and options."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="gopacs-session", description=DESCRIPTION, epilog=EPILOG, formatter_class=raw, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"gopacs-session {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, module: str, purpose: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.", allow_abbrev=False
        )
        command.set_defaults(module=module, command=name, parser=command)
        return command

    _token(add("token", ONLINE, "print an access token"))
    _check(add("check", ONLINE, "find out why it does not work"))
    _request(add("request", ONLINE, "send a request that bears a token, and print the answer"))
    _sandbox(add("sandbox", LOCAL, "run a local authorization server and API in the foreground"))
    add("demo", LOCAL, "show a session at work on a sandbox, in 12 seconds")
    shell = add("completion", LOCAL, "print a script that completes this command's words in a shell")
    shell.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    return parser


def _add_credentials(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group(
        "credentials", "From the environment (gopacs-session --help), unless an option says otherwise."
    )
    group.add_argument("--client-id", metavar="NAME", type=_text, help="the API client's name")
    presets = [environment.name for environment in PRESETS]
    group.add_argument("--environment", type=str.lower, choices=presets, help="which GOPACS")
    text = "read the secret from standard input; a terminal asks for it"
    group.add_argument("--secret-stdin", action="store_true", help=text)


def _token(command: argparse.ArgumentParser) -> None:
    form = command.add_mutually_exclusive_group()
    form.add_argument("--header", action="store_true", help="print a whole Authorization header")
    form.add_argument("--json", action="store_true", help="print the token endpoint's answer, but no refresh token")
    _add_credentials(command)


def _check(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print a report for programs")
    _add_credentials(command)


def _request(command: argparse.ArgumentParser) -> None:
    command.usage = "%(prog)s [options] [METHOD] URL"
    text = "an https:// URL, and only one of GOPACS's gets the token; METHOD is GET, or POST if there is a body"
    command.add_argument("words", metavar="URL", nargs="+", help=text)
    command.add_argument("-X", "--request", dest="method", metavar="METHOD", type=_method, help="the same METHOD")
    header = command.add_argument("-H", "--header", metavar="'NAME: VALUE'", type=_header, action="append", default=[])
    header.help = "a header, once for each"
    body = command.add_mutually_exclusive_group()
    text = "the body: text, @FILE, or - for standard input; -H names its Content-Type"
    data = body.add_argument("-d", "--data", metavar="DATA", help=text)
    json = body.add_argument("--json", metavar="DATA", help="the same, with Content-Type and Accept for JSON")
    command.add_argument("-i", "--include", action="store_true", help="print the answer's head, to standard error")
    text = "print the heads of the request, without the token, and of the answer, to standard error"
    command.add_argument("-v", "--verbose", action="store_true", help=text)
    output = command.add_argument("-o", "--output", metavar="FILE", help="write the answer's body to a file")
    for action in (data, json, output):
        setattr(action, "complete", COMPLETE_FILES)  # noqa: B010 - shtab looks for it
    text = "seconds to wait for the API (default: 60)"
    command.add_argument("--timeout", type=_seconds, default=60.0, metavar="S", help=text)
    _add_credentials(command)


def _sandbox(command: argparse.ArgumentParser) -> None:
    command.add_argument("--port", type=_port, default=SANDBOX_PORT, help="where to listen (default: %(default)s)")
    command.add_argument(
        "--token-lifetime", type=_seconds, default=300.0, metavar="S", help="seconds that a token lives (default: 300)"
    )
    command.add_argument(
        "--export", metavar="SHELL", nargs="?", choices=("sh", "powershell"), const="sh",
        help="run nothing; print what another shell (sh or powershell) evaluates to point its programs at this port",
    )  # fmt: skip


def _text(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def _method(text: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", text):  # RFC 9110 section 9.1
        raise argparse.ArgumentTypeError("METHOD is GET, POST or the like, and comes before the URL")
    return text.upper()


def _url(text: str) -> str:
    if not re.match(r"\s*https?://", text, re.IGNORECASE):
        raise argparse.ArgumentTypeError("URL must begin with https://")
    with suppress(ValueError):
        parts = urlsplit(text.strip())
        if parts.hostname and parts.port != 0:  # Some ports that can't be are only found when they are asked for.
            return text
    raise argparse.ArgumentTypeError("URL names no host and port")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (colon and name.strip() and f"{name}{value}".isprintable()):
        raise argparse.ArgumentTypeError("it must look like 'Accept: application/xml'")
    with suppress(UnicodeEncodeError):
        value.encode("latin-1")
        return name.strip(), value.strip()
    raise argparse.ArgumentTypeError("a header takes Latin-1 characters only")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError("it must be a number from 1 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError("it must be a positive number of seconds")
