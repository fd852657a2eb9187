"""64 threads on one session in a storm of faults, as they and the servers saw it.

The long run, by hand: ``tox -e faults -- tests/faults/test_storm.py --storm-seconds 600 -o faulthandler_timeout=0``.
`--storm-seed` repeats the order and the strength of the faults; which request they hit is the scheduler's choice.
"""

from __future__ import annotations

import http.cookiejar
import io
import logging
import os
import queue
import signal
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from itertools import count
from math import inf
from random import Random
from typing import Any

import pytest
import requests
from support import at_once, exit_status, finish_renewals, forked, in_background

import gopacs_session.clock
import gopacs_session.session
from gopacs_session import Environment, GopacsSession
from gopacs_session.sandbox import Exchange, Sandbox

from . import proxy
from .conftest import STORM_REPORT

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    # An interrupt may strike a finalizer, where Python can only report it, or leave a socket to one.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

THREADS = 64
LIFE = 4.0  # seconds that a token lives, the second half of them stale
IMPATIENT, PATIENT = 1.0, 30.0  # seconds
SECRET = "the-storm's-secret"
INVALID_TOKEN = {"WWW-Authenticate": 'Bearer realm="gopacs", error="invalid_token"'}
# Locks that Python itself leaves behind where a signal handler raises while they are taken.
FRAGILE = {queue.__file__, threading.__file__, logging.__file__, http.cookiejar.__file__}
# After one failed token request a backoff; after three in a row also the second for which the failure is remembered.
PAUSES = ((1, 0.25), (3, 1.5))  # seconds, at least
LOGGERS = "gopacs_session", "oauthlib", "requests_oauthlib", "urllib3"


Event = tuple[str, float, str | None]


class Interrupted(BaseException):
    """What a signal handler raises, as KeyboardInterrupt."""


class Storm(logging.Handler):
    """The program, the faults that strike it, and the records that the tests judge.

    Attributes:
        events: what became of the session's token: what, when by the session's clock, and which Authorization.
        outcomes: of each call, the status of the answer or the name of the error.
        served: the paths whose answer was 200, and those that it is the answer to.
        borne: of each path, the token and the status of each request that the API received.
        heard: how many log records and exceptions there were.
        leaks: those with a secret in them.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random, self.numbers, self.over = Random(seed), count(1), threading.Event()  # noqa: S311
        self.events: list[Event] = []
        self.outcomes: list[str] = []
        self.seconds: list[float] = []
        self.served: list[tuple[str, str]] = []
        self.untyped: list[Exception] = []
        self.leaks: list[str] = []
        self.children: list[int] = []
        self.borne: defaultdict[str, list[tuple[int | None, int]]] = defaultdict(list)
        self.heard, self.rounds, self.passed, self.wall_error = 0, 0, 0.0, 0.0
        self.sandbox = Sandbox(client_secret=SECRET, token_lifetime=LIFE, on_request=self.record)

    # -- the program ---------------------------------------------------------------------------------------------------

    def call(self, timeout: float = IMPATIENT) -> str:
        """A request with one of four kinds of body; its status, or the name of its error."""
        number, started = next(self.numbers), time.monotonic()
        path, content = f"/{os.getpid()}/{number}", b"message" * (5000 if number % 16 > 12 else 1)
        body: Any = (None, content, io.BytesIO(content), iter([content]))[number % 4]
        try:
            answer = self.session.request("POST" if body else "GET", self.api_url + path, data=body, timeout=timeout)
            outcome = str(answer.status_code)
            if answer.status_code == 200:
                self.served.append((path, answer.json()["path"]))
        except Exception as error:  # noqa: BLE001 - the tests look at it
            outcome = type(error).__name__
            self.overhear(f"{error!r} {error}")
            self.untyped += [] if isinstance(error, requests.RequestException) else [error]
        self.outcomes.append(outcome)
        self.seconds.append(time.monotonic() - started)
        return outcome

    def calls(self) -> None:
        while not self.over.is_set():
            if self.call() != "200":
                self.over.wait(0.01)

    def ask(self) -> str:
        """The client's secret, which each token request calls for."""
        self.note("asked")
        return SECRET

    def be_a_child(self) -> bool:
        """Whether a new process, which has no token, is served, and minds the pauses."""
        self.events, self.session.token = [], None
        outcomes = [self.call(PATIENT) for _ in range(8)]
        print(outcomes, hasty(self.events), needless(self.events), flush=True)  # pytest shows it where the test fails.
        return outcomes == ["200"] * 8 and not (hasty(self.events) or needless(self.events))

    # -- the records ---------------------------------------------------------------------------------------------------

    def note(self, what: str, authorization: str | None = None) -> None:
        self.events.append((what, gopacs_session.clock.monotonic(), authorization))

    def record(self, exchange: Exchange) -> None:
        if not exchange.is_token_request:
            self.borne[exchange.path].append((exchange.token_number, exchange.status))
            if exchange.status in (401, 403):
                self.note("refused", exchange.authorization)
        self.sandbox.api_requests.clear()
        self.sandbox.token_requests.clear()

    def emit(self, record: logging.LogRecord) -> None:
        self.overhear(self.format(record))

    def overhear(self, text: str) -> None:
        self.heard += 1
        if SECRET in text or "eyJ" in text:  # Each JWT begins so.
            self.leaks.append(text)

    # -- the faults ----------------------------------------------------------------------------------------------------

    def strike(self) -> None:
        """Each fault of the servers and of the process once, in any order, while a token is needed."""
        self.rounds += 1
        for fault in self.random.sample(FAULTS, len(FAULTS)):
            self.need_token()
            fault(self)
            self.over.wait(self.random.uniform(0.1, 0.4))
            self.clear_up()
            self.over.wait(0.3)

    def need_token(self) -> None:
        if self.random.random() < 0.5:
            self.note("lost")
            self.session.token = None
        else:
            self.sandbox.revoke_tokens()

    def clear_up(self) -> None:
        self.sandbox.client_enabled, self.sandbox.token_delay = True, 0.0
        self.sandbox.answer_next_token_requests(0, 200)
        self.sandbox.answer_next_api_requests(0, 200)
        self.proxy.calm = False
        self.passed += 1  # A failure is forgotten.

    def refuse(self) -> None:
        """The API refuses every token."""
        self.sandbox.answer_next_api_requests(300, self.random.choice([401, 403]), headers=INVALID_TOKEN)

    def set_clock(self) -> None:
        """The wall clock jumps, and the monotonic one does not."""
        self.note("lost")
        self.wall_error += self.random.choice([-3600, 3600])
        self.note("lost")

    def interrupt(self) -> None:
        """A signal handler raises, sooner or later, in the main thread's requests."""
        before = signal.signal(signal.SIGALRM, self.raise_interrupted)
        for number in range(20):
            if number % 2:
                self.need_token()
            signal.setitimer(signal.ITIMER_REAL, self.random.uniform(0.0005, 0.03))
            try:
                self.call()
            except Interrupted:
                self.outcomes.append("Interrupted")
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    def raise_interrupted(self, _: int, frame: Any) -> None:
        files = {caller.f_code.co_filename for caller, _ in traceback.walk_stack(frame)}
        if gopacs_session.session.__file__ in files and not files & FRAGILE:
            # Here, since another thread may ask before the exception has reached the caller.
            self.note("interrupted")
            raise Interrupted

    def fork(self) -> None:
        """A child in mid-flight, but not in mid-handshake, where OpenSSL's locks would be left behind."""
        self.proxy.calm = True
        while time.monotonic() - self.proxy.last_connection < 0.3:
            self.over.wait(0.05)
        self.children.append(exit_status(forked(self.be_a_child)))

    # -- all of it -----------------------------------------------------------------------------------------------------

    def rage(self, seconds: float) -> None:
        """Let the threads call for so long, and then once more without any fault."""
        started = time.monotonic()
        calling = [in_background(self.calls) for _ in range(THREADS)]
        while time.monotonic() - started < seconds:
            self.strike()
        self.over.set()
        self.proxy.calm = True
        self.hung = len(wait(calling, timeout=2 * PATIENT).not_done)
        finish_renewals()
        self.raged, asked = time.monotonic() - started, len(self.events)
        self.passed += 61  # Nothing is remembered for longer.
        self.session.token = None
        self.afterwards = at_once(THREADS, lambda: self.call(PATIENT)), self.events[asked:]

    def report(self) -> str:
        events, attempts = Counter(what for what, _, _ in self.events), sum(map(len, self.borne.values()))
        return (
            f"{len(self.outcomes)} requests in {self.raged:.0f} s, of up to {max(self.seconds):.1f} s: "
            f"{dict(Counter(self.outcomes).most_common())}\n"
            f"{attempts} requests reached the API, which executed {sum(map(executions, self.borne.values()))}\n"
            f"{self.proxy.hits.total()} faults of the network: {dict(self.proxy.hits.most_common())}\n"
            f"{len(FAULTS)} faults of servers and processes, {self.rounds} times each\n"
            f"{events['asked']} token requests brought {events['got']} tokens\n"
            f"{events['interrupted']} interruptions, {len(self.children)} children"
        )


HTML = "<html><h1>Bad Gateway</h1></html>"
FAULTS: list[Callable[[Storm], Any]] = [
    lambda _: None,  # but the network's
    lambda storm: storm.sandbox.answer_next_token_requests(9, 503, headers={"Retry-After": "0"}),
    lambda storm: storm.sandbox.answer_next_token_requests(9, 429, headers={"Retry-After": "1"}),
    lambda storm: storm.sandbox.answer_next_token_requests(9, 400, body={"error": "invalid_scope"}),
    lambda storm: storm.sandbox.answer_next_token_requests(9, 200, body=b'{"access_token": "eyJhbG'),
    lambda storm: storm.sandbox.answer_next_token_requests(9, 200, body=HTML),
    lambda storm: storm.sandbox.answer_next_api_requests(100, 502, body=HTML),
    lambda storm: setattr(storm.sandbox, "client_enabled", False),
    lambda storm: setattr(storm.sandbox, "token_delay", storm.random.choice([0.3, 1.5])),
    Storm.refuse,
    Storm.set_clock,
    Storm.interrupt,
    Storm.fork,
]


def executions(requests_of_a_path: list[tuple[int | None, int]]) -> int:
    return sum(status == 200 for _, status in requests_of_a_path)


def hasty(events: list[Event]) -> list[float]:
    """When token requests came sooner after failed ones than the backoff and the memory of a failure allow."""
    hasty: list[float] = []
    failed: list[float] = []
    for what, moment, _ in events:
        if what == "asked":
            hasty += [moment for n, pause in PAUSES if len(failed) >= n and moment - failed[-n] < pause]
            failed.append(moment)
        elif what in ("got", "interrupted"):  # After an interrupt, another thread takes over at once.
            failed.clear()
    return hasty


def needless(events: list[Event]) -> list[float]:
    """When a token was asked for although there was one, neither lost, refused nor stale."""
    needless: list[float] = []
    refused: set[str | None] = set()
    token, stale_at, asked_at = None, 0.0, 0.0
    for what, moment, authorization in events:
        if what == "asked":
            needless += [moment] if token and token not in refused and moment < stale_at else []
            asked_at = moment
        elif what == "got":
            token, stale_at = authorization, asked_at + LIFE / 2
        elif what == "refused":  # Perhaps before the thread that got it could note so.
            refused.add(authorization)
        elif what == "lost":  # The next one, too, if it was under way.
            token, asked_at = None, -inf
    return needless


@contextmanager
def overheard_by(handler: logging.Handler) -> Iterator[None]:
    """Each record of these loggers goes to the handler, and nowhere else: they would fill pytest's memory."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
    yield
    for logger in loggers:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


@pytest.fixture(scope="module")
def storm(pytestconfig: pytest.Config) -> Storm:
    storm = Storm(pytestconfig.getoption("--storm-seed"))
    with storm.sandbox as sandbox, overheard_by(storm), pytest.MonkeyPatch.context() as patch:
        behind = int(sandbox.api_url.rpartition(":")[2])
        patch.setattr(gopacs_session.clock, "monotonic", lambda: time.monotonic() + storm.passed)
        patch.setattr(gopacs_session.clock, "time", lambda: time.time() + storm.passed + storm.wall_error)
        with proxy.Proxy(behind, storm.random, 2, 2) as storm.proxy:
            tokens, api = (f"https://localhost:{port}" for port in storm.proxy.ports)
            token_url = sandbox.environment.token_url.replace(sandbox.api_url, tokens)
            environment = Environment("storm", token_url, ("localhost",), ca_bundle=sandbox.ca_file)
            storm.api_url, storm.session = api, GopacsSession(
                sandbox.client_id, storm.ask, environment, token_timeout=IMPATIENT,
                token_updater=lambda token: storm.note("got", f"Bearer {token['access_token']}"),
            )  # fmt: skip
            storm.session.trust_env = False
            with storm.session:
                storm.rage(pytestconfig.getoption("--storm-seconds"))
    pytestconfig.stash[STORM_REPORT] = storm.report()
    return storm


def test_no_request_lacks_its_token(storm: Storm) -> None:
    """No request reaches the API without a token, or again with the one that it refused."""
    borne = {path: [token for token, _ in requests] for path, requests in storm.borne.items()}
    assert len(borne) > 2 * THREADS
    assert [path for path, tokens in borne.items() if None in tokens] == []
    assert [tokens for tokens in borne.values() if tokens != sorted(set(tokens)) or len(tokens) > 2] == []


def test_nothing_is_executed_twice(storm: Storm) -> None:
    """Each request is executed once at most, and once if its caller got an answer of 200, which is its own."""
    assert [path for path, requests in storm.borne.items() if executions(requests) > 1] == []
    assert [path for path, _ in storm.served if executions(storm.borne[path]) != 1] == []
    assert [path for path, answered in storm.served if path != answered] == []


def test_nobody_hangs(storm: Storm) -> None:
    """Each call ends, within half a minute at most."""
    assert storm.hung == 0
    assert max(storm.seconds) < PATIENT


def test_token_requests_are_few(storm: Storm) -> None:
    """Whatever 64 threads want, each token request has a reason, and those that fail are followed by pauses."""
    assert needless(storm.events) == []
    assert hasty(storm.events) == []


def test_failures_are_typed_and_quote_no_secret(storm: Storm) -> None:
    """Callers see exceptions of requests; and neither secret nor token is in their text, or in any logger's record."""
    assert storm.untyped == []
    assert storm.leaks == []
    assert storm.heard > len(storm.served)


def test_children_are_served(storm: Storm) -> None:
    """A process that is forked in mid-flight renews the token, and is served."""
    assert set(storm.children) == {0}


def test_service_is_back_within_one_renewal(storm: Storm) -> None:
    """When the storm is over, each of 64 threads is served at once, at the cost of one renewal."""
    outcomes, events = storm.afterwards
    assert outcomes == ["200"] * THREADS
    assert [what for what, _, _ in events].count("got") == 1


def test_each_fault_of_chance_struck(storm: Storm) -> None:
    """No fault of the network failed to appear, and signal handlers did raise."""
    assert {name for name, _, _ in proxy.FAULTS} == set(storm.proxy.hits)
    assert "interrupted" in {what for what, _, _ in storm.events}
