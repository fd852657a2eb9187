"""The command ``gopacs-session``, and how it ends."""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from ..exceptions import ConfigurationError, TokenRequestError
from .errors import ExitCode, verdict
from .parser import parser
from .terminal import complain


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
        from . import commands  # Here, so that help needs no more than this module.

        code: ExitCode = getattr(commands, options.command)(options)
    except (ConfigurationError, TokenRequestError) as error:
        text, code = verdict(error)
        complain(text)
    return code
