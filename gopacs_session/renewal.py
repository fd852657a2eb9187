"""One renewal at a time, whatever interrupts the thread that runs it; what came of it, and the token_updater."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import clock
from .exceptions import AuthorizationServerError, ConfigurationError, InvalidClientError, TokenRequestError
from .grant import LONGEST_PAUSE
from .issued_token import IssuedToken

log = logging.getLogger("gopacs_session")

Updater = Callable[[dict[str, Any]], None]


@dataclass
class Renewal:
    """One renewal. It is in flight for as long as the thread that runs it holds its lock.

    Its locks are taken by ``with``, which lets them go whatever a signal handler raises, at whatever bytecode: a flag
    could be left behind. Others wait at the gate, which is no Event: a signal handler that waits in a thread that is
    waiting already would find the Event's own lock taken.
    """

    thread: int = field(default_factory=threading.get_ident)
    lock: threading.Lock = field(default_factory=threading.Lock)
    gate: threading.Lock = field(default_factory=threading.Lock)
    followers: dict[str, Renewal] = field(default_factory=dict, repr=False)  # One that hangs has thousands of them.
    given_up: bool = False

    def wait(self, patience: float) -> bool:
        """Whether it ended within `patience` seconds."""
        while self.lock.locked() and patience > 0:
            # In slices: another thread may have been interrupted here while it held the gate.
            if self.gate.acquire(timeout=min(patience, 1.0)):
                self.gate.release()
            patience -= 1.0
        return not self.lock.locked()


class Renewals:
    """Which renewal is in flight, if any. Without a lock: since CPython 3.14 an interrupt may leave one behind."""

    def __init__(self) -> None:
        self._latest = Renewal()
        self._here = threading.local()

    def start(self, renewal: Renewal) -> Renewal:
        """`renewal`, which is in flight from now on; or the one of another thread that is.

        Raises:
            TokenRequestError: the calling thread itself is renewing already, or is in its token_updater.
        """
        telling = getattr(self._here, "telling", None)
        if telling is not None and telling.locked():
            raise TokenRequestError("No access token: token_updater asked for another one.")
        while True:
            latest = self._latest
            in_flight = latest.lock.locked() and not latest.given_up
            if in_flight and latest.thread == renewal.thread:
                # A signal handler, a client_secret callable or an adapter that calls GOPACS itself.
                raise TokenRequestError("No access token: it was asked for while this thread was already renewing it.")
            if in_flight and not sys.is_finalizing():  # At the interpreter's end other threads no longer run.
                return latest
            # Of all that would follow it, the first does: setdefault is one step, without the interpreter's lock, too.
            self._latest = following = latest.followers.setdefault("first", renewal)
            if following is renewal:  # pragma: no branch - else two threads were in the line above at once
                return renewal

    def tell(self, updater: Updater, token: IssuedToken) -> None:
        """Have the user's token_updater store a new token; the token is used whether that works or not."""
        telling = threading.Lock()
        with telling:  # As a renewal's lock: known to others only once it is held.
            self._here.telling = telling
            try:
                updater(dict(token.client.token))
            except Exception as error:  # noqa: BLE001 - its text might hold the token
                log.error("token_updater raised %s; the new token is used all the same.", type(error).__name__)

    def wait_for(self, other: Renewal, patience: float) -> None:
        """Wait until the renewal of another thread has ended.

        Raises:
            AuthorizationServerError: it did not within `patience` seconds; the next request renews by itself.
        """
        if other.wait(patience):
            return
        other.given_up = True
        raise AuthorizationServerError(
            f"No access token: its renewal by another thread did not finish within {patience:g} s."
        )


LONGEST_MEMORY = 60.0  # seconds, whatever a Retry-After asks for
REFUSED_CREDENTIALS = 1.0  # seconds; 32 threads in loops would ask a dozen times in each


class Failure:
    """A renewal that brought no token.

    Attributes:
        error: what it ended in.
        until: on the monotonic clock, until when everybody gets that error without another token request.
    """

    def __init__(self, error: TokenRequestError) -> None:
        self.error = error
        asked = error.retry_after
        # A shorter one has been waited for between the tries.
        seconds = min(asked, LONGEST_MEMORY) if asked is not None and asked > LONGEST_PAUSE else 0.0
        refused = REFUSED_CREDENTIALS if isinstance(error, InvalidClientError) else 0.0
        self.until = clock.monotonic() + max(seconds, refused)


def check_updater(updater: object) -> None:
    """Raise :class:`ConfigurationError` unless it can be called, or is None."""
    if updater is not None and not callable(updater):
        raise ConfigurationError("token_updater must be a callable that takes the new token, a dict.")
