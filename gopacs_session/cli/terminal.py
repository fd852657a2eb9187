"""Text for a human: wrapped, aligned, and coloured where that helps."""

import logging
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

BOLD, DIM, RED, GREEN, YELLOW = 1, 2, 31, 32, 33  # SGR codes of ECMA-48 section 8.3.117


def say(text: str = "", style: int = 0, label: str = "", label_style: int = 0, stream: TextIO | None = None) -> None:
    """Write a label, and text wrapped to the right of it, in one piece, whatever other threads say at the same time.

    The text keeps its own line ends. There are colours on a terminal where NO_COLOR (https://no-color.org) is not set.
    """
    stream = stream or sys.stdout
    # Windows' old console shows the codes themselves.
    capable = os.name == "posix" and os.environ.get("TERM") != "dumb"
    coloured = stream.isatty() and capable and not os.environ.get("NO_COLOR")

    def paint(text: str, style: int) -> str:
        return f"\x1b[{style}m{printable(text)}\x1b[0m" if coloured and style and text else printable(text)

    width = max(40, min(shutil.get_terminal_size().columns, 100))
    # A path or a URL is there to be copied: too long is better than broken.
    wrapper = textwrap.TextWrapper(width - len(label), break_long_words=False, break_on_hyphens=False)
    lines = [paint(line, style) for part in text.split("\n") for line in wrapper.wrap(part)]
    stream.write(paint(label, label_style) + f"\n{' ' * len(label)}".join(lines) + "\n")
    stream.flush()


def printable(text: str) -> str:
    """A server's words, without what would steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def complain(text: str) -> None:
    """Say it to the person at the terminal, not to the program that reads the output."""
    if sys.stderr is not None:  # It is None where it was closed.
        say(text, label="gopacs-session: ", stream=sys.stderr)


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
