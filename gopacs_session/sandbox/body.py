"""The body of a request (RFC 9112 sections 6 and 7.1): read whole, and not larger than a machine can hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import BufferedIOBase

LARGEST_BODY = 64 << 20  # bytes
LONGEST_LINE = 65536  # bytes, as http.server has it
MOST_TRAILERS = 100  # as http.server has it for headers


class BodyError(Exception):
    """A body that is not read.

    Attributes:
        status (int): HTTP status of the answer to it.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def read_body(headers: Mapping[str, str], file: BufferedIOBase) -> bytes:
    """The body that `headers` announce, freed from any chunking.

    Raises:
        BodyError: it is malformed, or too large.
        ConnectionResetError: the client went away before its end.
    """
    if "Transfer-Encoding" not in headers:
        return _read(file, _size(headers.get("Content-Length", "0"), 10), LARGEST_BODY)
    body = bytearray()
    while size := _size(_line(file).partition(";")[0], 16):
        body += _read(file, size, LARGEST_BODY - len(body))
        if _line(file):
            raise BodyError(400)
    for _ in range(MOST_TRAILERS + 1):
        if not _line(file):
            return bytes(body)
    raise BodyError(400)


def _size(text: str, base: int) -> int:
    try:
        # int() alone would take a sign, underscores and 0x.
        return int(text if re.fullmatch(r"[0-9A-Fa-f]+", text.strip()) else "", base)
    except ValueError:
        raise BodyError(400) from None


def _read(file: BufferedIOBase, size: int, largest: int) -> bytes:
    if size > largest:
        raise BodyError(413)
    data = file.read(size)
    if len(data) < size:
        raise ConnectionResetError("The client went away before the end of its request.")
    return data


def _line(file: BufferedIOBase) -> str:
    line = file.readline(LONGEST_LINE + 1) or _read(file, 1, 1)  # which raises: there is nothing left
    if len(line) > LONGEST_LINE:
        raise BodyError(400)
    return line.decode("latin-1").strip()
