"""One token, and the current one: usable, stale or expired; renewed once for everyone."""

import copy
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import isfinite
from typing import Any

from oauthlib.oauth2 import TokenExpiredError

from . import clock
from .exceptions import AuthorizationServerError, ConfigurationError, TokenRequestError
from .timeouts import check_seconds

log = logging.getLogger("gopacs_session")

Updater = Callable[[dict[str, Any]], None]
DEFAULT_LIFE, SHORTEST_LIFE, LONGEST_LIFE = 60.0, 1.0, 366 * 24 * 3600.0  # seconds
SHORTEST_MEMORY, LONGEST_MEMORY = 1.0, 60.0  # seconds, of a failure
PAUSE = 5.0  # seconds after a failed renewal behind requests
YOUNG = 5.0  # seconds for which a token that replaced a refused one is not renewed for another refusal


class Token:
    """The answer to a token request, and how long it is good for by the wall clock, in seconds since the epoch."""

    def __init__(self, answer: Mapping[str, Any], issued_at: float) -> None:
        self.life = _lifetime(answer.get("expires_in"))
        self.issued_at, self.expires_at = issued_at, issued_at + self.life
        self.answer = {**answer, "expires_in": self.life, "expires_at": self.expires_at}
        self.authorization = f"Bearer {answer['access_token']}"
        self.unproven = False  # It replaced a refused one, and no API has accepted a replay with it yet.

    @classmethod
    def stored(cls, answer: object) -> "Token":
        """The token of a stored answer, whose ``expires_at`` counts."""
        if not (isinstance(answer, Mapping) and is_bearer(answer)):
            raise ConfigurationError("A stored token must be a mapping with a printable access_token of type Bearer.")
        now, expires_at = clock.time(), _number(answer.get("expires_at"))
        left = None if expires_at is None else expires_at - now
        life = _lifetime(answer.get("expires_in", left))
        # More than a whole life can't be left: it is in milliseconds, say, or the clock was set back.
        return cls({**answer, "expires_in": life}, now if left is None else now + min(left - life, 0.0))

    @property
    def is_young_replacement(self) -> bool:
        """Whether an API refused the one before it just now: its clock is behind, or it refuses them all."""
        return self.unproven and 0 <= clock.time() - self.issued_at < YOUNG


def is_bearer(answer: Mapping[str, Any]) -> bool:
    """Whether it holds a bearer token (in any case, section 5.1) of visible ASCII (appendix A.12), fit for a header."""
    token, kind = answer.get("access_token"), answer.get("token_type", "Bearer")
    visible = isinstance(token, str) and token.isascii() and token.isprintable() and token.strip() == token != ""
    return visible and isinstance(kind, str) and kind.lower() == "bearer"


def _lifetime(expires_in: object) -> float:
    """Seconds that a token lives (RFC 6749 section 5.1)."""
    life = _number(expires_in) or 0.0
    return max(life, SHORTEST_LIFE) if 0 < life <= LONGEST_LIFE else DEFAULT_LIFE


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]  # That is the question.
    except (TypeError, ValueError, OverflowError):
        return None
    return number if isfinite(number) and not isinstance(value, bool) else None


class CurrentToken:
    """Hands out one token to many threads. One of them renews it for all by `fetch`; the others wait `patience` s."""

    def __init__(self, fetch: Callable[[], Token], patience: float, leeway: float, updater: Updater | None) -> None:
        check_seconds("leeway", leeway, least=0)
        if updater is not None and not callable(updater):
            raise ConfigurationError("token_updater must be a callable that takes the new token, a dict.")
        self._fetch, self._patience, self._leeway, self._updater = fetch, patience, leeway, updater
        self.latest: Token | None = None
        self.refused: Token | None = None  # not to be used again
        self.after_fork()

    def after_fork(self) -> None:
        """Start without a renewal in flight: the thread that ran it lives in the parent process only."""
        self._lock = threading.RLock()
        self._failure: tuple[TokenRequestError, float] | None = None  # and until when it is remembered
        self._next_behind = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_failure")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.after_fork()

    def get(self, refused: Token | None = None) -> Token:
        """A usable token: the current one, or the next if its time is over or an API has refused it."""
        if refused is not None and refused.is_young_replacement:
            return refused  # An API that refuses them all would refuse the next.
        try:
            return self.current(refused)
        except TokenExpiredError:
            pass  # Renewed below, so that an error there is not raised "during handling of" this one.
        return self.renew(refused)

    def current(self, unwanted: Token | None = None) -> Token:
        """The current token, if it is usable and another than `unwanted`. A stale one is renewed behind the request."""
        token = self.latest
        if token is None or token in (unwanted, self.refused):
            raise TokenExpiredError
        left = token.expires_at - clock.time()
        if left <= min(5.0, token.life / 10):
            raise TokenExpiredError
        if left <= min(self._leeway, token.life / 2):
            self._renew_behind(token)
        return token

    def find(self, authorization: str) -> Token | None:
        """The current token, if this is its Authorization; None if it has been renewed since."""
        return self.latest if self.latest is not None and self.latest.authorization == authorization else None

    def replace(self) -> Token:
        """Another token than the current one, whatever happened before."""
        self._failure = None
        return self.renew(replaced=self.latest)

    def renew(self, refused: Token | None = None, *, replaced: Token | None = None) -> Token:
        """The token after one that was refused, or is replaced. One thread asks for it; those that wait share it."""
        lock = self._lock
        if lock._is_owned():  # type: ignore[attr-defined]  # as threading.Condition asks
            # A signal handler, a client_secret callable, a token_updater or an adapter that calls GOPACS itself.
            raise TokenRequestError("No access token: it was asked for while this thread was already renewing it.")
        # At the interpreter's end other threads no longer run.
        patience = 0 if sys.is_finalizing() else min(self._patience, threading.TIMEOUT_MAX)
        try:
            # Within the try, and released below without asking: a signal handler may raise in between.
            if lock.acquire(timeout=patience):
                with suppress(TokenExpiredError):
                    return self.current(refused or replaced)
                if (failure := self._failure) and clock.monotonic() < failure[1]:
                    raise copy.copy(failure[0])  # One exception in many threads would mix up their tracebacks.
                return self._ask(refused)
        finally:
            try:  # noqa: SIM105 - suppress would be a call before it
                lock.release()
            except RuntimeError:
                pass  # It was not acquired.
        if self._lock is lock:
            self._lock = threading.RLock()  # The next request renews by itself.
        raise AuthorizationServerError(f"No access token: another thread did not renew it within {patience:g} s.")

    def _ask(self, refused: Token | None) -> Token:
        try:
            token = self._fetch()
        except TokenRequestError as error:
            seconds = max(SHORTEST_MEMORY, min(error.retry_after or 0.0, LONGEST_MEMORY))
            self._failure = copy.copy(error), clock.monotonic() + seconds
            raise
        token.unproven = self.latest is not None and self.latest in (refused, self.refused)
        self.latest, self._failure = token, None
        try:
            if self._updater is not None:
                self._updater(dict(token.answer))
        except Exception as error:  # noqa: BLE001 - its text might hold the token
            log.error("token_updater raised %s; the new token is used all the same.", type(error).__name__)
        return token

    def _renew_behind(self, token: Token) -> None:
        """Renew in a thread of its own, unless one is at it, or failed just now."""
        # Thread.start would wait for ever at the interpreter's end (CPython before 3.12).
        if clock.monotonic() < self._next_behind or sys.is_finalizing():
            return

        def renew() -> None:
            try:
                self.renew(replaced=token)
                self._next_behind = 0.0
            except BaseException as error:  # noqa: BLE001 - a client_secret callable may raise anything
                self._failed_behind(error)

        self._next_behind = clock.monotonic() + self._patience  # or until it has ended
        try:
            threading.Thread(target=renew, name="gopacs_session renewal", daemon=True).start()
        except RuntimeError as error:
            self._failed_behind(error)

    def _failed_behind(self, error: BaseException) -> None:
        self._next_behind = clock.monotonic() + PAUSE
        said = error if isinstance(error, TokenRequestError) else type(error).__name__
        log.warning("A token could not be renewed before it expires: %s", said)
