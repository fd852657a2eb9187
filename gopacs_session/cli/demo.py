"""A session at work on a sandbox: first token, expiry under load, revocation and outage, told as it happens."""

import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep

import requests

from ..sandbox import Exchange, Sandbox
from .terminal import BOLD, DIM, GREEN, RED, YELLOW, say, warnings_to

TOKEN_LIFE = 4.0  # seconds
THREADS = 8


class Journal:
    """Lines that say what happened when, and where."""

    def __init__(self) -> None:
        self._started = monotonic()

    def line(self, who: str, text: str, style: int = 0) -> None:
        """One thing that happened now."""
        say(text, style, f"{monotonic() - self._started:6.2f} s  {who:<6}  ", DIM)

    def exchange(self, exchange: Exchange) -> None:
        """One exchange, as the server saw it."""
        number, status = exchange.token_number, str(exchange.status)
        # 405 is what `gopacs-session check` gets, which looks whether anybody answers.
        style = RED if exchange.status >= 400 and exchange.status != 405 else 0
        if exchange.is_token_request:
            outcome = f"{status}, issued token {number}" if number else status
            self.line("token", f"{exchange.method} {exchange.path.rpartition('/')[2]}: {outcome}", style)
        else:
            token = f"with token {number}" if number else "without a token"
            self.line("api", f"{exchange.method} {exchange.path} {token}: {status}", style)


class Demo:
    """The story, act by act."""

    def __init__(self) -> None:
        self._journal = Journal()
        self._outcomes: list[bool] = []

    def run(self) -> bool:
        """Play it; whether every request succeeded."""
        renewed = threading.Event()
        with (
            warnings_to(lambda text: self._journal.line("log", text, YELLOW)),
            Sandbox(token_lifetime=TOKEN_LIFE, on_request=self._journal.exchange) as self._sandbox,
            self._sandbox.session(token_updater=lambda token: renewed.set()) as self._session,
        ):
            say(f"A sandbox listens at {self._sandbox.api_url}; its tokens live {TOKEN_LIFE:g} s.")
            self._play(renewed)
        without = sum(exchange.authorization is None for exchange in self._sandbox.api_requests)
        good = all(self._outcomes) and without == 0
        text = f"{sum(self._outcomes)} of {len(self._outcomes)} requests succeeded, on "
        text += f"{len(self._sandbox.token_requests)} token requests; {without} API requests went out without a token."
        say()
        say(text, GREEN if good else RED)
        return good

    def _play(self, renewed: threading.Event) -> None:
        self._act("The first request fetches a token; the second finds it there.")
        self._get("/first")
        self._get("/second")
        self._act(f"The token expires. {THREADS} threads need a new one at once: one fetches it for all.", TOKEN_LIFE)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._get, [f"/thread/{number}" for number in range(1, THREADS + 1)]))
        self._act("The token is past half its life: requests go on, and it is renewed behind them.", TOKEN_LIFE * 0.6)
        renewed.clear()
        with self._sandbox.hold_token_requests():
            self._get("/on-the-stale-token")
            self._sandbox.wait_for_token_requests(3)
        renewed.wait(10)
        self._get("/on-the-renewed-token")
        self._act("All tokens are revoked. The API answers 401: the token is renewed, and the request replayed.")
        self._sandbox.revoke_tokens()
        self._get("/after-the-revocation")
        self._act(
            "The token expires in an outage of the authorization server: the third try brings another.", TOKEN_LIFE
        )
        self._sandbox.answer_next_token_requests(2, 503)
        self._get("/after-the-outage")

    def _act(self, text: str, pause: float = 0) -> None:
        say()
        say(text, BOLD)
        if pause:
            self._journal.line("", f"... {pause:.1f} s pass ...", DIM)
            sleep(pause)

    def _get(self, path: str) -> None:
        try:
            answer = self._session.get(self._sandbox.api_url + path)
            good, outcome = answer.ok, str(answer.status_code)
        except requests.RequestException as error:
            good, outcome = False, str(error)
        self._outcomes.append(good)
        self._journal.line("caller", f"GET {path}: {outcome}", GREEN if good else RED)
