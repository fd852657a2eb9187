"""``gopacs-session demo``: first token, expiry under load, revocation and outage, told as they happen on a sandbox."""

import threading
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep

import requests

from ..sandbox import Exchange, Sandbox
from .terminal import ExitCode, say, warnings_to

TOKEN_LIFE = 4.0  # seconds
THREADS = 8


STARTED = monotonic()


def run(_: Namespace) -> ExitCode:
    """Play it; the exit code says whether every request succeeded."""
    return ExitCode.SUCCESS if Demo().run() else ExitCode.FAILURE


def happened(where: str, text: str) -> None:
    """Print what happened now."""
    say(text, f"{monotonic() - STARTED:6.2f} s  {where:<6}  ")


def exchanged(exchange: Exchange) -> None:
    """Print an exchange, as the server saw it."""
    number, status = exchange.token_number, str(exchange.status)
    if exchange.is_token_request:
        outcome = f"{status}, issued token {number}" if number else status
        happened("token", f"{exchange.method} {exchange.path.rpartition('/')[2]}: {outcome}")
    else:
        token = f"with token {number}" if number else "without a token"
        happened("api", f"{exchange.method} {exchange.path} {token}: {status}")


class Demo:
    """The story, act by act."""

    def run(self) -> bool:
        """Play it; whether every request succeeded."""
        renewed = threading.Event()
        self._outcomes: list[bool] = []
        with (
            warnings_to(lambda text: happened("log", text)),
            Sandbox(token_lifetime=TOKEN_LIFE, on_request=exchanged) as self._sandbox,
            self._sandbox.session(token_updater=lambda token: renewed.set()) as self._session,
        ):
            say(f"A sandbox listens at {self._sandbox.api_url}; its tokens live {TOKEN_LIFE:g} s.")
            self._play(renewed)
        without = sum(exchange.authorization is None for exchange in self._sandbox.api_requests)
        text = f"\n{sum(self._outcomes)} of {len(self._outcomes)} requests succeeded, on "
        text += f"{len(self._sandbox.token_requests)} token requests; {without} API requests went out without a token."
        say(text)
        return all(self._outcomes) and without == 0

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
        say(text)
        if pause:
            happened("", f"... {pause:.1f} s pass ...")
            sleep(pause)

    def _get(self, path: str) -> None:
        try:
            answer = self._session.get(self._sandbox.api_url + path)
            good, outcome = answer.ok, str(answer.status_code)
        except requests.RequestException as error:
            good, outcome = False, str(error)
        self._outcomes.append(good)
        happened("caller", f"GET {path}: {outcome}")
