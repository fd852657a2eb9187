"""The one current token: usable, stale or expired; renewed once for everyone."""

from __future__ import annotations

import copy
import logging
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from time import sleep
from typing import Any

from oauthlib.oauth2 import BackendApplicationClient, TokenExpiredError

from . import clock
from .exceptions import ConfigurationError, TokenRequestError
from .forking import watch
from .grant import ClientCredentialsGrant
from .issued_token import IssuedToken
from .renewal import Failure, Renewal, Renewals, Updater
from .token_response import bears_token

log = logging.getLogger("gopacs_session")

PAUSE_AFTER_FAILURE = 5.0  # seconds
HEAD_START = 0.005  # Else the new thread would take the interpreter from the request that started it.
YOUNG = 5.0  # seconds for which a token that came of a refusal is not renewed for another one


class CurrentToken:
    """Hands out one token to many threads, and lets one of them renew it for all.

    Reading or replacing `_token` is atomic, with the interpreter's lock or without: no thread sees half a token.

    Args:
        grant: asks for tokens.
        leeway: seconds before its expiry from which a token is renewed while it is still in use.
        updater: called with each new token, a dict, by the thread that renewed it.
    """

    def __init__(self, grant: ClientCredentialsGrant, leeway: float, updater: Updater | None) -> None:
        self.grant, self.updater, self.leeway = grant, updater, leeway
        self._token: IssuedToken | None = None
        self._refused: IssuedToken | None = None
        self.after_fork()
        watch(self)

    def after_fork(self) -> None:
        """Start without a renewal in flight: the thread that ran it lives in the parent process only."""
        self._renewals = Renewals()
        self._failure: Failure | None = None
        self._retry_at = 0.0

    def __getstate__(self) -> dict[str, Any]:
        # The monotonic clock means nothing in another process: the wall clock's expires_at carries the token over.
        return {"grant": self.grant, "updater": self.updater, "leeway": self.leeway, "answer": self.answer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["grant"], state["leeway"], state["updater"])  # type: ignore[misc]
        self.put(state["answer"])

    def with_grant(self, grant: ClientCredentialsGrant) -> CurrentToken:
        """The same token, to be renewed by another grant."""
        twin = CurrentToken(grant, self.leeway, self.updater)
        twin._token, twin._refused = self._token, self._refused
        return twin

    @property
    def latest(self) -> IssuedToken | None:
        """The current token, usable or not."""
        return self._token

    def known_as(self, authorization: str) -> IssuedToken | None:
        """The current token, if this is its Authorization."""
        token = self._token
        return token if token and token.authorization == authorization else None

    @property
    def client(self) -> BackendApplicationClient:
        """oauthlib's client with the current token; without one before the first."""
        token = self._token
        return token.client if token else BackendApplicationClient(self.grant.client_id)

    @property
    def answer(self) -> dict[str, Any]:
        """The current token's answer with its ``expires_at``; empty if there is none."""
        token = self._token
        return dict(token.client.token) if token else {}

    def put(self, answer: Mapping[str, Any] | None) -> None:
        """Make a stored token answer the current one; an empty one means that there is none.

        Raises:
            ConfigurationError: it holds no access token that fits into a header.
        """
        if answer and not (isinstance(answer, Mapping) and bears_token(answer)):
            raise ConfigurationError("A stored token must be a mapping with a printable access_token of type Bearer.")
        self._token = IssuedToken.stored(self.grant.client_id, answer, self.leeway) if answer else None

    def current(self, refused: IssuedToken | None = None) -> IssuedToken:
        """The current token. If it is stale, a renewal starts in the background.

        Args:
            refused: one that an API has refused.

        Raises:
            oauthlib.oauth2.TokenExpiredError: there is no token, it has expired, or it is the refused one.
        """
        token = self._token
        if token is None or token in (refused, self._refused):
            raise TokenExpiredError
        now = clock.monotonic()
        left = min(token.issued_at + token.life - now, token.expires_at - clock.time())
        if left <= token.unusable_below:
            raise TokenExpiredError
        if left <= token.stale_below and now >= self._retry_at:
            self._renew_in_background(token)
        return token

    def renew(
        self, refused: IssuedToken | None = None, *, replacing: IssuedToken | None = None, insist: bool = False
    ) -> IssuedToken:
        """The next token. One thread asks for it; those that wait share it, or its error.

        Args:
            refused: one that an API has refused.
            replacing: one that may still be good, but is to be replaced.
            insist: ask even if there was an error just before.

        Raises:
            TokenRequestError: no token could be obtained, now or just before.
        """
        renewal, seen = Renewal(), self._failure
        with renewal.gate, renewal.lock:
            while True:
                other = self._renewals.start(renewal)
                token = self._known(refused or replacing, seen, insist)
                if token is not None:
                    return token
                if other is renewal:
                    token = self._fetch(refused)
                    break
                self._renewals.wait_for(other, self.grant.longest)
        if self.updater is not None:
            self._renewals.tell(self.updater, token)
        return token

    def refuse(self, token: IssuedToken) -> None:
        """Have the next request renew the token, if it still is this one."""
        self._refused = token

    def is_renewed_in_vain(self, refused: IssuedToken) -> bool:
        """Whether another renewal would not help: the token is new, and was itself fetched because of a refusal.

        An API whose clock is behind refuses each token for a moment, and one may refuse them all.
        """
        if refused is not self._token or not refused.came_of_a_refusal:
            return False
        return clock.monotonic() - refused.issued_at < YOUNG

    def _known(self, but: IssuedToken | None, seen: Failure | None, insist: bool) -> IssuedToken | None:
        """What another renewal has brought since `seen`: a token, or its error; None if this thread has to ask."""
        with suppress(TokenExpiredError):
            return self.current(but)
        failure = self._failure
        if failure is not None and (failure is not seen or (not insist and clock.monotonic() < failure.until)):
            raise copy.copy(failure.error)  # A copy: one exception in many threads would mix up their tracebacks.
        return None

    def _fetch(self, refused: IssuedToken | None) -> IssuedToken:
        try:
            answer, age = self.grant.request_token()
        except TokenRequestError as error:
            self._failure = failure = Failure(copy.copy(error))
            self._retry_at = max(failure.until, clock.monotonic() + PAUSE_AFTER_FAILURE)
            raise
        token = IssuedToken(self.grant.client_id, answer, self.leeway, age)
        del answer  # Tracebacks can show what a function holds, and a log handler may raise.
        token.came_of_a_refusal = self._token is not None and self._token in (refused, self._refused)
        self._token, self._failure, self._retry_at = token, None, 0.0
        # Only now: a log handler that raises costs no token.
        log.debug(
            "Token obtained: environment %s, client_id %s, life %.0f s, in %.3f s.",
            self.grant.environment.name, self.grant.client_id, token.life, age,
        )  # fmt: skip
        return token

    def _renew_in_background(self, token: IssuedToken) -> None:
        """Renew in a thread of its own; a failure is only logged, since the token is still usable."""
        if sys.is_finalizing():  # pragma: no cover - nothing is measured at the interpreter's end
            return  # Thread.start would wait for ever (CPython before 3.12).
        self._retry_at = clock.monotonic() + PAUSE_AFTER_FAILURE

        def renew() -> None:
            sleep(HEAD_START)
            try:
                self.renew(replacing=token)
            except TokenRequestError as error:
                log.warning("A token could not be renewed before it expires: %s", error)

        try:
            threading.Thread(target=renew, name="gopacs_session renewal", daemon=True).start()
        except RuntimeError as error:
            log.warning("A token could not be renewed before it expires: %s", error)
