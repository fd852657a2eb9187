"""The command ``gopacs-session``, and what becomes of its errors."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from importlib import import_module

from oauthlib.oauth2 import InsecureTransportError
from requests import RequestException
from requests.exceptions import InvalidURL
from urllib3.exceptions import HTTPError

from ..exceptions import ConfigurationError, TokenRequestError
from ..tracebacks import reason
from .exit_code import ExitCode, of_error
from .log import warnings_to
from .parser import ONLINE, parse, parser
from .terminal import complain, refusal


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv`, or else with the process's arguments.

    Returns:
        An :class:`~gopacs_session.cli.exit_code.ExitCode`.

    Raises:
        SystemExit: ``--help``, ``--version``, or wrong usage.
    """
    if sys.stdout is None:
        complain("Standard output is closed.")
        return ExitCode.BROKEN_PIPE
    try:
        try:
            options = parse(argv)
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
    warnings = _Untold()
    try:
        command = getattr(import_module(options.module, __package__), options.command)
        with warnings_to(warnings.tell) if options.module == ONLINE else nullcontext():
            code: ExitCode = command(options)
            return code
    except BrokenPipeError:
        raise
    except (ConfigurationError, InsecureTransportError, OSError, HTTPError) as error:
        complain(warnings.new_in(_words(error)) or "Gave up.")
        return of_error(error)
    except KeyboardInterrupt:
        if sys.stderr and sys.stderr.isatty():
            sys.stderr.write("\n")  # The shell's prompt is to start a line.
        return ExitCode.INTERRUPTED


class _Untold:
    """Tells the library's warnings, such as that of a retry, and no sentence twice."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, text: str) -> None:
        complain(self.new_in(text))
        self._told.update(sentence.strip() for sentence in _sentences(text))

    def new_in(self, text: str) -> str:
        """What of a text has not been told."""
        return "".join(sentence for sentence in _sentences(text) if sentence.strip() not in self._told).strip()


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=\.\s)(?=\S)", text)


def _words(error: Exception) -> str:
    if isinstance(error, TokenRequestError):
        return refusal(error)
    if isinstance(error, InsecureTransportError):
        return "A token goes over https only, and nothing was sent: use an https:// URL."
    if isinstance(error, InvalidURL) and error.request is not None:
        from .route import BAD_PROXY

        # Its own URL was parsed when the request was made. What requests quotes may be the password of the proxy.
        return BAD_PROXY
    if isinstance(error, RequestException) and not isinstance(error, ValueError):
        return f"{_what(error)} failed: {reason(error)}."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _what(error: RequestException) -> str:
    """Which request: no more of its URL than host and path, and the proxy, as in the messages of requests."""
    from requests.utils import get_environ_proxies

    from .route import proxy_of

    if error.request is None:
        return "The request"
    url, proxy = str(error.request.url), None
    with suppress(ConfigurationError):
        proxy = proxy_of(url, get_environ_proxies(url))
    place = re.sub(r"(?<=//)[^/?#]*@|[?#].*", "", url)
    return f"{error.request.method} {place}{f' through {proxy}' if proxy else ''}"


def _forget_output() -> None:
    """Where nobody reads, the interpreter would complain that it cannot flush at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        os.dup2(nowhere, stream.fileno())
