"""Where an exception comes from (requests wraps urllib3, which wraps the system), and what tracebacks may not show."""

from __future__ import annotations

import functools
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# Before Python 3.13, clearing the frame of a generator that waits to go on would close it.
SUSPENDABLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
DEEPEST = 20  # An adapter may raise anything, a circle of exceptions included.


def causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it wraps, what that wraps, and so on."""
    cause: BaseException | None = error
    for _ in range(DEEPEST):
        if cause is None:
            return
        yield cause
        # Not __context__: the innermost one's is whatever the caller was handling when it sent the request.
        inner = (getattr(cause, "reason", None), *cause.args, cause.__cause__)
        cause = next((part for part in inner if isinstance(part, BaseException)), None)


def forget_locals(error: BaseException, handled: BaseException | None) -> None:
    """Clear the variables of all frames that an exception went through, and what it came from: tracebacks show them.

    Args:
        error: raised by a function that the caller has called.
        handled: what the caller was handling then, which is the caller's to show.
    """
    seen = {id(handled)}
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if not frame.f_code.co_flags & SUSPENDABLE:
                with suppress(RuntimeError):  # It is running: the caller's, and the function that calls this one.
                    frame.clear()
        group = getattr(one, "exceptions", ())  # as ExceptionGroup has them
        parts = [part for part in group if isinstance(part, BaseException)] if isinstance(group, tuple) else []
        waiting += [one.__cause__, one.__context__, *parts]


def leaving_no_locals(function: Callable[P, R]) -> Callable[P, R]:
    """Have a function that is given secrets leave none in the frames that its exceptions went through."""

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> R:
        handled = sys.exc_info()[1]
        try:
            return function(*args, **options)
        except BaseException as error:
            del args, options
            forget_locals(error, handled)
            raise

    return call


def reason(error: BaseException) -> str:
    """The words of the innermost cause, or its class where it has none."""
    *_, cause = causes(error)
    try:
        return (isinstance(cause, OSError) and cause.strerror) or str(cause) or type(cause).__name__
    except Exception:  # noqa: BLE001 - anything may fail to be printed
        return type(cause).__name__


def place(error: BaseException) -> str:
    """What was raised and where, without its words, which may hold a secret; with the file that it is about, if any."""
    *_, last = traceback.extract_tb(error.__traceback__)
    about = f" for {error.filename}" if isinstance(error, OSError) and error.filename else ""
    why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
    return f"{type(error).__name__}{why}{about} in {last.filename}, line {last.lineno}"
