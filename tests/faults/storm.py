"""64 threads of a program on one session, the faults that strike them, and the servers' records of it."""

from __future__ import annotations

import io
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Sandbox

from .proxy import Proxy
from .weather import FAULTS, Weather

THREADS = 64
FAULT_SECONDS = 0.4
IMPATIENT, PATIENT = 0.5, 30.0  # seconds; a busy machine must not look like a fault when there is none


def finish_renewals() -> None:
    """Wait for renewals behind requests, which may still suffer from the fault."""
    for thread in threading.enumerate():
        if thread.name == "gopacs_session renewal":
            thread.join(PATIENT)


class Labelling(HTTPAdapter):
    """Tells the servers which renewal a token request is a try of: those of a thread up to its next API request."""

    def __init__(self) -> None:
        super().__init__(pool_maxsize=THREADS)
        self._numbers = count(1)
        self._thread = threading.local()

    def start_call(self) -> None:
        self._thread.renewal = None

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        if "/realms/" in str(request.url):
            self._thread.renewal = getattr(self._thread, "renewal", None) or next(self._numbers)
            request.headers["X-Renewal"] = str(self._thread.renewal)
        else:
            self.start_call()
        return super().send(request, *args, **options)

    def idle_connections(self) -> int:
        """How many wait in urllib3's pools to be used again."""
        pools = [self.poolmanager.pools[key] for key in self.poolmanager.pools.keys()]  # noqa: SIM118 - no iterator
        return sum(bool(idle and idle.sock) for pool in pools for idle in pool.pool.queue)


@dataclass
class Program:
    """What a program's threads do with the session, and what became of it."""

    session: GopacsSession
    adapter: Labelling
    url: str
    outcomes: Counter[str] = field(default_factory=Counter)
    served: list[str] = field(default_factory=list)
    mixed_up: list[Any] = field(default_factory=list)
    untyped: list[Exception] = field(default_factory=list)
    kept_errors: list[Exception] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def call(self, timeout: float, bodies: int = 4) -> str:
        """A request with one of so many kinds of body; its status, or the name of its error."""
        number = next(self._numbers)
        content, kind = f"message {number}".encode(), number % bodies
        body = (None, content, io.BytesIO(content), iter([content]))[kind]
        self.adapter.start_call()
        try:
            outcome = self._send("POST" if kind else "GET", f"/messages/{number}", body, timeout)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            outcome = type(error).__name__
            self.kept_errors.append(error)
            if not isinstance(error, requests.RequestException):
                self.untyped.append(error)
        self.outcomes[outcome] += 1
        return outcome

    def _send(self, method: str, path: str, body: Any, timeout: float) -> str:
        stream = body is not None and path.endswith(("0", "5"))
        with self.session.request(method, self.url + path, data=body, timeout=timeout, stream=stream) as answer:
            if answer.status_code == 200:
                echo = answer.json()
                if (echo["method"], echo["path"]) != (method, path):
                    self.mixed_up.append((method, path, echo))
                self.served.append(path)
            return str(answer.status_code)

    def calls(self, seconds: float) -> None:
        """Request after request, for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.call(IMPATIENT)


@dataclass
class Ledger:
    """What the sandbox has seen in all; to keep the records themselves would fill the memory."""

    sandbox: Sandbox
    api_requests: int = 0
    token_requests: int = 0
    without_token: list[str] = field(default_factory=list)
    executed: Counter[str] = field(default_factory=Counter)

    def close_page(self) -> int:
        """Enter the new records, and drop them; how many renewals there were among them."""
        api, tokens = list(self.sandbox.api_requests), list(self.sandbox.token_requests)
        del self.sandbox.api_requests[: len(api)], self.sandbox.token_requests[: len(tokens)]
        self.api_requests += len(api)
        self.token_requests += len(tokens)
        self.without_token += [exchange.path for exchange in api if not exchange.token_number]
        self.executed.update(exchange.path for exchange in api if exchange.status == 200)
        return len({exchange.headers["X-Renewal"] for exchange in tokens})


@dataclass
class Storm:
    """What happened, for the tests to judge."""

    program: Program
    ledger: Ledger
    proxy: Proxy
    weather: Weather
    failures: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    after_faults: list[tuple[str, Counter[str], int]] = field(default_factory=list)
    lost_connections: list[str] = field(default_factory=list)
    before_and_after: tuple[Any, Any] = (None, None)

    def rage(self, pool: ThreadPoolExecutor, least_requests: int) -> None:
        """All faults in random order, again and again if need be."""
        faults: list[str] = []
        while faults or not self.after_faults or self.ledger.api_requests < least_requests:
            faults = faults or self.weather.random.sample(list(FAULTS), len(FAULTS))
            self._strike(faults.pop(), pool)

    def _strike(self, name: str, pool: ThreadPoolExecutor) -> None:
        """A fault, and one request of each thread when it is over."""
        before = self.program.outcomes.copy()
        FAULTS[name](self.weather)
        self.program.session.token_timeout = IMPATIENT
        list(pool.map(self.program.calls, [FAULT_SECONDS] * THREADS))
        self.program.session.token_timeout = PATIENT
        self.weather.clear_up()
        finish_renewals()
        self.failures[name] += self.program.outcomes - before
        self.ledger.close_page()
        after = Counter(pool.map(lambda _: self.program.call(PATIENT, bodies=3), range(THREADS)))
        finish_renewals()
        self.after_faults.append((name, after, self.ledger.close_page()))
        # With the errors at hand, as in a log: what they hold on to is still there.
        if not self.proxy.wait_until_connections_are(self.program.adapter.idle_connections()):
            self.lost_connections.append(name)
        self.program.kept_errors.clear()

    def report(self, seconds: float) -> str:
        hit = self.proxy.faults + Counter(name_unknown=self.weather.names.failures)
        executed, renewals = self.ledger.executed.total(), set(self.proxy.renewals)
        return (
            f"{self.program.outcomes.total()} requests in {seconds:.0f} s: {_listed(self.program.outcomes)}\n"
            f"{len(self.after_faults)} faults, which hit {hit.total()} times: {_listed(hit)}\n"
            f"{self.ledger.api_requests} requests reached the API, and {executed} were executed\n"
            f"{len(self.proxy.renewals)} token requests in {len(renewals)} renewals"
        )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.most_common())
