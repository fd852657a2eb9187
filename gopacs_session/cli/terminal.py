"""What the command says to a human, and what it exits with."""

import logging
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TextIO

from ..exceptions import ConfigurationError, InvalidClientError, TokenRequestError


class ExitCode(IntEnum):
    """``--help`` has their meanings."""

    SUCCESS = 0
    FAILURE = 1
    CONFIGURATION = 2
    CREDENTIALS_REFUSED = 3
    NO_TOKEN = 6
    INTERRUPTED = 130
    BROKEN_PIPE = 141


def verdict(error: ConfigurationError | TokenRequestError) -> tuple[str, ExitCode]:
    """Its own words with those of the authorization server below them, and the exit code."""
    if isinstance(error, ConfigurationError):
        return str(error), ExitCode.CONFIGURATION
    code = ExitCode.CREDENTIALS_REFUSED if isinstance(error, InvalidClientError) else ExitCode.NO_TOKEN
    return f"{error}\n{': '.join(filter(None, (error.error, error.description)))}".strip(), code


def say(text: str = "", label: str = "", stream: TextIO | None = None) -> None:
    """Write a label, and text wrapped to the right of it, in one piece, whatever other threads say at the same time.

    The text keeps its own line ends, and how far each line is indented.
    """
    stream = stream or sys.stdout
    width = max(40, min(shutil.get_terminal_size().columns, 100))
    # A path or a URL is there to be copied: too long is better than broken.
    wrapper = textwrap.TextWrapper(width - len(label), break_long_words=False, break_on_hyphens=False)
    lines = []
    for line in text.split("\n"):
        wrapper.subsequent_indent = " " * (len(line) - len(line.lstrip()))
        lines += wrapper.wrap(line)
    stream.write(label + f"\n{' ' * len(label)}".join(map(printable, lines)) + "\n")
    stream.flush()


def printable(text: str) -> str:
    """A server's words, without what would steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def complain(text: str) -> None:
    """Say it to the person at the terminal, not to the program that reads the output."""
    if sys.stderr is not None:  # It is None where it was closed.
        say(text, "gopacs-session: ", sys.stderr)


@contextmanager
def warnings_to(say: Callable[[str], None]) -> Iterator[None]:
    """Have `say` called with each warning of the library, such as that of a retry, until the end of the block."""
    log, handler = logging.getLogger("gopacs_session"), logging.Handler(logging.WARNING)
    handler.emit = lambda record: say(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
