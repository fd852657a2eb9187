"""A session at work on a sandbox: first token, expiry under load, revocation and outage, told as it happens."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import requests

from .sandbox import Exchange, Sandbox
from .session import GopacsSession

TOKEN_LIFE = 4.0  # seconds
THREADS = 8


class _SayingHandler(logging.Handler):
    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())


class Demo:
    """The story, act by act.

    Args:
        say: takes each line as it comes.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._started = monotonic()
        self._failed = 0
        self._succeeded = 0

    def run(self) -> bool:
        """Play it; whether every request succeeded."""
        log = logging.getLogger("gopacs_session")
        handler = _SayingHandler(lambda text: self._line("log", text))
        log.addHandler(handler)
        try:
            return self._play()
        finally:
            log.removeHandler(handler)

    def _play(self) -> bool:
        with Sandbox(token_lifetime=TOKEN_LIFE, on_request=self._tell) as sandbox, sandbox.session() as session:
            self._say(f"A sandbox listens at {sandbox.api_url}; its tokens live {TOKEN_LIFE:.0f} s.")
            self._first_token(sandbox, session)
            self._expiry(sandbox, session)
            self._staleness(sandbox, session)
            self._revocation(sandbox, session)
            self._outage(sandbox, session)
            without = sum(exchange.authorization is None for exchange in sandbox.api_requests)
            self._say("")
            self._say(
                f"{self._succeeded} of {self._succeeded + self._failed} requests succeeded, on "
                f"{len(sandbox.token_requests)} token requests; {without} API requests went out without a token."
            )
        return self._failed == 0 and without == 0

    def _first_token(self, sandbox: Sandbox, session: GopacsSession) -> None:
        self._act("The first request fetches a token; the second finds it there.")
        self._get(sandbox, session, "/first")
        self._get(sandbox, session, "/second")

    def _expiry(self, sandbox: Sandbox, session: GopacsSession) -> None:
        self._act(f"The token expires. {THREADS} threads need a new one at once: one fetches it for all.")
        self._wait(TOKEN_LIFE)
        with ThreadPoolExecutor(THREADS) as pool:
            for number in range(1, THREADS + 1):
                pool.submit(self._get, sandbox, session, f"/thread/{number}")

    def _staleness(self, sandbox: Sandbox, session: GopacsSession) -> None:
        self._act("The token is past half its life, and the token endpoint slow: requests go on, and it is renewed behind them.")
        self._wait(TOKEN_LIFE * 0.6)
        sandbox.token_delay = 0.5
        renewals = len(sandbox.token_requests)
        self._get(sandbox, session, "/on-the-stale-token")
        sandbox.wait_for_token_requests(renewals + 1)
        self._wait(0.7)
        sandbox.token_delay = 0
        self._get(sandbox, session, "/on-the-renewed-token")

    def _revocation(self, sandbox: Sandbox, session: GopacsSession) -> None:
        self._act("All tokens are revoked. The API refuses the one it is sent: it is replaced, and the request replayed.")
        sandbox.revoke_tokens()
        self._get(sandbox, session, "/after-the-revocation")

    def _outage(self, sandbox: Sandbox, session: GopacsSession) -> None:
        self._act("The token expires during an outage of the authorization server: the third try brings a new one.")
        self._wait(TOKEN_LIFE)
        sandbox.answer_next_token_requests(2, 503)
        self._get(sandbox, session, "/after-the-outage")

    def _get(self, sandbox: Sandbox, session: GopacsSession, path: str) -> None:
        try:
            session.get(sandbox.api_url + path).raise_for_status()
        except requests.RequestException as error:
            self._failed += 1
            self._line("caller", f"GET {path}: {error}")
        else:
            self._succeeded += 1
            self._line("caller", f"GET {path}: 200")

    def _tell(self, exchange: Exchange) -> None:
        """One exchange, as the server saw it."""
        if exchange.path.startswith("/realms/"):
            what = f"issued token {exchange.token_number}" if exchange.token_number else "issued no token"
            self._line("token", f"{exchange.method} {exchange.path.rsplit('/', 1)[-1]}: {exchange.status}, {what}")
        else:
            bore = f"with token {exchange.token_number}" if exchange.token_number else "without a token"
            self._line("api", f"{exchange.method} {exchange.path} {bore}: {exchange.status}")

    def _act(self, text: str) -> None:
        self._say(f"\n{text}")

    def _line(self, who: str, text: str) -> None:
        self._say(f"{monotonic() - self._started:6.2f} s  {who:<6}  {text}")

    def _wait(self, seconds: float) -> None:
        self._line("", f"... {seconds:.1f} s pass ...")
        threading.Event().wait(seconds)
