"""A session at work on a sandbox: first token, expiry under load, revocation and outage, told as it happens."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from typing import Any

import requests

from ..sandbox import Exchange, Sandbox
from ..sandbox.realm import REALMS
from ..session import GopacsSession
from .log import warnings_to
from .terminal import Style, Terminal

TOKEN_LIFE = 4.0  # seconds
THREADS = 8


class Journal:
    """Lines that tell what happened when, and to whom.

    Args:
        terminal: they are written to it.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._started = monotonic()

    def line(self, who: str, text: str, *styles: Style) -> None:
        """One thing that happened now."""
        label = f"{monotonic() - self._started:6.2f} s  {who:<6}  "
        self._terminal.entry(label, text, (Style.DIM,), styles)

    def exchange(self, exchange: Exchange) -> None:
        """One exchange, as the server saw it."""
        styles: tuple[Style, ...] = () if exchange.status < 400 else (Style.RED,)
        if exchange.path.startswith(REALMS):
            what = f"issued token {exchange.token_number}" if exchange.token_number else "no token"
            if exchange.status == 405:  # That is no fault: `gopacs-session check` sees whether anyone answers.
                what, styles = "tokens are asked for by POST", (Style.DIM,)
            self.line(
                "token", f"{exchange.method} {exchange.path.rsplit('/', 1)[-1]}: {exchange.status}, {what}", *styles
            )
        else:
            bore = f"with token {exchange.token_number}" if exchange.token_number else "without a token"
            self.line("api", f"{exchange.method} {exchange.path} {bore}: {exchange.status}", *styles)


class Demo:
    """The story, act by act.

    Args:
        terminal: on which it is told.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._journal = Journal(terminal)
        self._failed = 0
        self._succeeded = 0
        self._renewed = threading.Event()

    def run(self) -> bool:
        """Play it; whether every request succeeded."""
        with (
            warnings_to(lambda text: self._journal.line("log", text, Style.YELLOW)),
            Sandbox(token_lifetime=TOKEN_LIFE, on_request=self._journal.exchange) as sandbox,
            sandbox.session(token_updater=self._note_renewal) as session,
        ):
            self._terminal.paragraph(f"A sandbox listens at {sandbox.api_url}; its tokens live {TOKEN_LIFE:g} s.")
            for act in (self._first_token, self._expiry, self._staleness, self._revocation, self._outage):
                act(sandbox, session)
            return self._sum_up(sandbox)

    def _sum_up(self, sandbox: Sandbox) -> bool:
        without = sum(exchange.authorization is None for exchange in sandbox.api_requests)
        good = self._failed == 0 and without == 0
        self._terminal.say()
        self._terminal.paragraph(
            f"{self._succeeded} of {self._succeeded + self._failed} requests succeeded, on "
            f"{len(sandbox.token_requests)} token requests; {without} API requests went out without a token.",
            Style.BOLD,
            Style.GREEN if good else Style.RED,
        )
        return good

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
        self._act(
            "The token is past half its life, and the token endpoint slow: requests go on, and it is renewed behind "
            "them."
        )
        self._wait(TOKEN_LIFE * 0.6)
        renewals = len(sandbox.token_requests)
        self._renewed.clear()
        with sandbox.hold_token_requests():
            self._get(sandbox, session, "/on-the-stale-token")
            sandbox.wait_for_token_requests(renewals + 1)
            self._wait(0.5)
        self._renewed.wait(10)
        self._get(sandbox, session, "/on-the-renewed-token")

    def _revocation(self, sandbox: Sandbox, session: GopacsSession) -> None:
        self._act(
            "All tokens are revoked. The API refuses the one it is sent: it is replaced, and the request replayed."
        )
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
            self._journal.line("caller", f"GET {path}: {error}", Style.RED)
        else:
            self._succeeded += 1
            self._journal.line("caller", f"GET {path}: 200", Style.GREEN)

    def _note_renewal(self, token: dict[str, Any]) -> None:
        self._renewed.set()

    def _act(self, text: str) -> None:
        self._terminal.say()
        self._terminal.paragraph(text, Style.BOLD)

    def _wait(self, seconds: float) -> None:
        self._journal.line("", f"... {seconds:.1f} s pass ...", Style.DIM)
        sleep(seconds)
