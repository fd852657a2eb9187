"""Text for a human: wrapped, aligned, and coloured where that helps."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from enum import Enum
from typing import TextIO

from ..exceptions import TokenRequestError


class Style(Enum):
    """SGR codes of ECMA-48 section 8.3.117."""

    BOLD = 1
    DIM = 2
    RED = 31
    GREEN = 32
    YELLOW = 33


class Terminal:
    """Writes lines to a stream, which may be a terminal, a pipe or a file.

    Args:
        stream: it gets colours if it is a terminal, and NO_COLOR (https://no-color.org) is not set.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._coloured = stream.isatty() and _colour_is_welcome()
        self._width = max(40, min(shutil.get_terminal_size().columns, 100))

    def say(self, text: str = "") -> None:
        """Write a line, at once and as a whole, whatever other threads say at the same time."""
        self._stream.write(self._encodable(f"{text}\n"))
        self._stream.flush()

    def paragraph(self, text: str, *styles: Style) -> None:
        """Write text, wrapped, in these styles."""
        self.entry("", text, text_styles=styles)

    def entry(self, label: str, text: str, styles: Sequence[Style] = (), text_styles: Sequence[Style] = ()) -> None:
        """Write a label, and text wrapped to the right of it, each in its styles. The text keeps its own line ends."""
        indent = "\n" + " " * len(label)
        lines = [line for part in text.split("\n") for line in self._wrap(part, self._width - len(label))]
        self.say(self._paint(label, styles) + indent.join(self._paint(line, text_styles) for line in lines))

    def symbol(self, symbol: str, substitute: str) -> str:
        """The symbol, or its substitute where the stream's encoding lacks it."""
        return symbol if self._encodable(symbol) == symbol else substitute

    def _paint(self, text: str, styles: Sequence[Style]) -> str:
        text = printable(text)
        if not (self._coloured and styles and text):
            return text
        return f"\x1b[{';'.join(str(style.value) for style in styles)}m{text}\x1b[0m"

    def _encodable(self, text: str) -> str:
        encoding = self._stream.encoding or "ascii"
        return text.encode(encoding, "replace").decode(encoding)

    @staticmethod
    def _wrap(text: str, width: int) -> list[str]:
        indent = text[: len(text) - len(text.lstrip(" "))]
        # A path or a URL is there to be copied: too long is better than broken.
        return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def complain(text: str) -> None:
    """Tell the person at the terminal, not the program that reads the output."""
    if sys.stderr is not None:  # It is None where it was closed.
        Terminal(sys.stderr).entry("gopacs-session: ", text)


def refusal(error: TokenRequestError) -> str:
    """What is wrong, and the authorization server's words below it."""
    words = ": ".join(part for part in (error.error, error.description) if part)
    return f"{error}\n{words}".strip()


def printable(text: str) -> str:
    """A server's words, without what would steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _colour_is_welcome() -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return os.name == "posix" or "WT_SESSION" in os.environ  # Windows' old console shows the codes themselves.
