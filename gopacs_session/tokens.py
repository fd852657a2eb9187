"""The one current token of a session: usable, stale or gone; renewed once for everyone who waits."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from time import monotonic, sleep, time
from typing import Any

from .authorization import Authorization
from .exceptions import AuthorizationServerError, ConfigurationError, TokenRequestError
from .token_response import bears_token, lifetime, seconds

log = logging.getLogger("gopacs_session")

Fetch = Callable[[], tuple[Mapping[str, Any], float]]  # an answer, and the seconds since it was asked for
Updated = Callable[[dict[str, Any]], None]

PAUSE_AFTER_FAILURE = 5.0  # seconds
HEAD_START = 0.005  # A new thread takes the interpreter; the request that found the token stale is to be sent first.


@dataclass(frozen=True)
class Token:
    """A token answer and the times, on the monotonic clock, at which it turns stale and unusable."""

    answer: Mapping[str, Any] = field(repr=False)
    authorization: Authorization
    stale_at: float
    unusable_at: float

    @classmethod
    def issued(cls, answer: Mapping[str, Any], leeway: float, age: float = 0.0) -> Token:
        """The token of an answer that was asked for `age` seconds ago."""
        life = lifetime(answer.get("expires_in"))
        expires_at = monotonic() - age + life
        return cls(
            answer={**answer, "expires_in": life, "expires_at": time() - age + life},
            authorization=Authorization(f"Bearer {answer['access_token']}"),
            stale_at=expires_at - min(leeway, life / 2),
            unusable_at=expires_at - min(5.0, life / 10),
        )

    @classmethod
    def stored(cls, answer: Mapping[str, Any], leeway: float) -> Token:
        """The token of an answer that was kept somewhere; its ``expires_at`` tells how much of its life is left."""
        if answer.get("expires_at") is None:
            return cls.issued(answer, leeway)
        expires_at = seconds(answer["expires_at"])
        left = expires_at - time() if isfinite(expires_at) else 0.0
        life = lifetime(answer.get("expires_in", left))
        # A wall clock that stepped back since must not lengthen the life.
        return cls.issued({**answer, "expires_in": life}, leeway, age=max(0.0, life - left))


class CurrentToken:
    """Hands out one token to many threads, and lets one of them renew it for all.

    Args:
        leeway: seconds before its expiry from which a token is renewed while it is still in use.

    Attributes:
        patience: seconds after which a renewal that another thread runs counts as hung.
    """

    def __init__(self, leeway: float) -> None:
        self._leeway = leeway
        self.patience = 60.0
        self._token: Token | None = None
        self.forget_renewal()

    def forget_renewal(self) -> None:
        """Start without a renewal in flight, as after a fork: the thread that ran it lives in the parent only."""
        self._lock = threading.Lock()
        self._renewing: set[int] = set()  # threads: those that fetch, or tell of what they fetched
        self._failures = 0
        self._error: TokenRequestError | None = None
        self._retry_at = 0.0

    def __getstate__(self) -> dict[str, Any]:
        # The monotonic clock means nothing in another process: the wall clock's expires_at carries the token over.
        return {"leeway": self._leeway, "patience": self.patience, "answer": self.answer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._leeway, self.patience = state["leeway"], state["patience"]
        self.put(state["answer"])
        self.forget_renewal()

    @property
    def token(self) -> Token | None:
        """The current token, usable or not."""
        return self._token

    @property
    def answer(self) -> dict[str, Any]:
        """The current token's answer with its ``expires_at``; empty if there is none."""
        token = self._token
        return dict(token.answer) if token else {}

    def put(self, answer: Mapping[str, Any]) -> None:
        """Make a stored token answer the current one; an empty one means that there is none.

        Raises:
            ConfigurationError: it holds no access token that fits into a header.
        """
        if answer and not (isinstance(answer, Mapping) and bears_token(answer)):
            raise ConfigurationError("A stored token must be a mapping with a printable access_token of type Bearer.")
        self._token = Token.stored(answer, self._leeway) if answer else None

    def get(self, fetch: Fetch, updated: Updated, refused: str | None = None) -> Token:
        """The current token at once if it is usable, else the one that a renewal brings.

        Args:
            fetch: asks the token endpoint for an answer.
            updated: called with a new answer, by the thread that fetched it.
            refused: the Authorization that an API refused; a token newer than that one is good.
        """
        token, now = self._token, monotonic()
        if token is None or now >= token.unusable_at or token.authorization == refused:
            return self.renew(fetch, updated, token)
        if now >= token.stale_at and now >= self._retry_at and not self._lock.locked():
            self._retry_at = now + PAUSE_AFTER_FAILURE
            self._renew_behind(fetch, updated, token)
        return token

    def renew(self, fetch: Fetch, updated: Updated, known: Token | None) -> Token:
        """The token after `known`. One thread fetches it; those who wait meanwhile share it, or its error."""
        failures = self._failures
        with self._turn():
            if self._token is not None and self._token is not known:
                return self._token
            if self._error is not None and self._failures != failures:
                # A copy: one exception raised in many threads would mix up their tracebacks.
                raise copy.copy(self._error)
            token = self._token = self._fetch(fetch)
        with self._renewal():
            updated(dict(token.answer))
        return token

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Be the only thread in the block; give up where waiting for that would never end."""
        if threading.get_ident() in self._renewing:
            # A signal handler, a client_secret callable or a token_updater that calls GOPACS itself.
            raise TokenRequestError("No access token: it was asked for in the midst of its own renewal.")
        lock = self._lock
        if not lock.acquire(timeout=self.patience):
            if lock is self._lock:
                self.forget_renewal()
            raise AuthorizationServerError("No access token: its renewal by another thread hangs.")
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _renewal(self) -> Iterator[None]:
        """Remember in the block that this thread is in the midst of a renewal."""
        self._renewing.add(threading.get_ident())
        try:
            yield
        finally:
            self._renewing.discard(threading.get_ident())

    def _fetch(self, fetch: Fetch) -> Token:
        try:
            with self._renewal():
                answer, age = fetch()
        except TokenRequestError as error:
            self._error = copy.copy(error)
            self._failures += 1
            self._retry_at = monotonic() + PAUSE_AFTER_FAILURE
            raise
        self._retry_at = 0.0
        return Token.issued(answer, self._leeway, age)

    def _renew_behind(self, fetch: Fetch, updated: Updated, known: Token) -> None:
        """Renew in a thread of its own; only the log hears of a failure, since the token is still usable."""

        def renew() -> None:
            sleep(HEAD_START)
            try:
                self.renew(fetch, updated, known)
            except TokenRequestError as error:
                log.warning("A token could not be renewed before it expires: %s", error)

        try:
            threading.Thread(target=renew, name="gopacs_session renewal", daemon=True).start()
        except RuntimeError as error:
            log.warning("A token could not be renewed before it expires: %s", error)
