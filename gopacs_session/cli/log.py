"""The library's warnings, for whom the command wants to hear them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def warnings_to(tell: Callable[[str], None]) -> Iterator[None]:
    """Have `tell` called with each warning, such as that of a retry, until the end of the block."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(record.getMessage())

    log, handler = logging.getLogger("gopacs_session"), Handler(logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
