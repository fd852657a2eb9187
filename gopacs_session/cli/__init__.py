"""The command ``gopacs-session``, and what becomes of its errors."""

from __future__ import annotations

import gc
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from importlib import import_module
from typing import NoReturn

from oauthlib.oauth2 import InsecureTransportError
from requests import RequestException
from urllib3.exceptions import HTTPError

from ..causes import reason
from ..exceptions import ConfigurationError, TokenRequestError
from .exit_code import ExitCode, of_error
from .log import warnings_to
from .parser import ONLINE, parser


def run() -> NoReturn:
    """The console script: :func:`main`, and a quick end."""
    code = main()
    with suppress(AttributeError):  # Only CPython has it.
        # The interpreter ends with collections that look at every object: without this they take a tenth of `token`.
        gc.freeze()
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv`, or else with the process's arguments.

    Returns:
        An :class:`~gopacs_session.cli.exit_code.ExitCode`.

    Raises:
        SystemExit: ``--help``, ``--version``, or wrong usage.
    """
    try:
        try:
            options = parser().parse_args(argv)
            return _run(options) if "command" in options else _help()
        finally:
            sys.stdout.flush()  # While a broken pipe can still be dealt with: help may have been printed.
    except BrokenPipeError:
        _forget_output()
        return ExitCode.BROKEN_PIPE


def _help() -> ExitCode:
    parser().print_help(sys.stderr)
    return ExitCode.CONFIGURATION


def _run(options: Namespace) -> ExitCode:
    try:
        command = getattr(import_module(options.module, __package__), options.command)
        with warnings_to(_complain) if options.module == ONLINE else nullcontext():
            code: ExitCode = command(options)
            return code
    except BrokenPipeError:
        raise
    except (ConfigurationError, InsecureTransportError, OSError, HTTPError) as error:
        _complain(_words(error))
        return of_error(error)
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            sys.stderr.write("\n")  # The shell's prompt is to start a line.
        return ExitCode.INTERRUPTED


def _words(error: Exception) -> str:
    if isinstance(error, TokenRequestError):
        said = ": ".join(part for part in (error.error, error.description) if part)
        return f"{error}\n{said}".strip()
    if isinstance(error, InsecureTransportError):
        return "A token goes over https only, and nothing was sent: use an https:// URL."
    if isinstance(error, RequestException) and not isinstance(error, ValueError):
        what = f"{error.request.method} {error.request.url!s}" if error.request else "The request"
        return f"{what} failed: {reason(error)}."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _complain(text: str) -> None:
    from .terminal import complain

    complain(text)


def _forget_output() -> None:
    """Where nobody reads, the interpreter would complain that it cannot flush at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
