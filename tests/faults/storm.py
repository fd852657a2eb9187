"""64 threads of a program on one session, the faults that strike them, and the servers' records of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from support import finish_renewals

from gopacs_session.sandbox import Sandbox

from .program import FAULT_SECONDS, IMPATIENT, PATIENT, Program
from .proxy import Proxy
from .schedule import FAULTS, Stage

THREADS = 64


@dataclass
class Ledger:
    """What the sandbox has seen in all; to keep the records themselves would fill the memory."""

    sandbox: Sandbox
    api_requests: int = 0
    without_token: list[str] = field(default_factory=list)
    executed: Counter[str] = field(default_factory=Counter)

    def close_page(self) -> Page:
        """Enter the new records, and drop them."""
        api, tokens = list(self.sandbox.api_requests), list(self.sandbox.token_requests)
        del self.sandbox.api_requests[: len(api)], self.sandbox.token_requests[: len(tokens)]
        self.api_requests += len(api)
        self.without_token += [exchange.path for exchange in api if not exchange.token_number]
        self.executed.update(exchange.path for exchange in api if exchange.status == 200)
        renewals = len({exchange.headers["X-Renewal"] for exchange in tokens})
        return Page(renewals, sum(exchange.status == 401 for exchange in api))


class Page(NamedTuple):
    """What the sandbox saw in some time.

    Attributes:
        renewals: how many.
        refusals: API requests that were refused for their token.
    """

    renewals: int
    refusals: int


@dataclass
class Storm:
    """What happened, for the tests to judge."""

    program: Program
    ledger: Ledger
    proxy: Proxy
    stage: Stage
    failures: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    in_faults: list[tuple[str, float, Page]] = field(default_factory=list)
    after_faults: list[tuple[str, Counter[str], int]] = field(default_factory=list)
    lost_connections: list[str] = field(default_factory=list)
    before_and_after: tuple[Any, Any] = (None, None)

    def rage(self, pool: ThreadPoolExecutor, least_requests: int) -> None:
        """All faults in random order, again and again if need be."""
        faults: list[str] = []
        while faults or not self.after_faults or self.ledger.api_requests < least_requests:
            faults = faults or self.stage.random.sample(list(FAULTS), len(FAULTS))
            self._strike(faults.pop(), pool)

    def _strike(self, name: str, pool: ThreadPoolExecutor) -> None:
        """A fault, and one request of each thread when it is over."""
        before, started = self.program.outcomes.copy(), self.stage.monotonic()
        FAULTS[name](self.stage)
        self.program.session.token_timeout = PATIENT if self.stage.meanwhile else IMPATIENT
        calling = [pool.submit(self.program.calls, FAULT_SECONDS) for _ in range(THREADS)]
        if self.stage.meanwhile:
            self.stage.meanwhile(self.program)
        for calls in calling:
            calls.result()
        seconds = self.stage.monotonic() - started
        self.program.session.token_timeout = PATIENT
        self.stage.clear_up()
        self.failures[name] += self.program.outcomes - before
        self.in_faults.append((name, seconds, self.ledger.close_page()))
        after = Counter(pool.map(lambda _: self.program.call(PATIENT, bodies=3), range(THREADS)))
        finish_renewals()
        self.after_faults.append((name, after, self.ledger.close_page().renewals))
        # With the errors at hand, as in a log: what they hold on to is still there.
        if not self.proxy.wait_until_connections_are(self.program.adapter.idle_connections()):
            self.lost_connections.append(name)
        self.program.kept_errors.clear()

    def report(self, seconds: float) -> str:
        hit = self.proxy.faults + Counter(name_unknown=self.stage.names.failures)
        executed, renewals = self.ledger.executed.total(), set(self.proxy.renewals)
        return (
            f"{self.program.outcomes.total()} requests in {seconds:.0f} s: {_listed(self.program.outcomes)}\n"
            f"{len(self.after_faults)} faults, which hit {hit.total()} times: {_listed(hit)}\n"
            f"{self.ledger.api_requests} requests reached the API, and {executed} were executed\n"
            f"{len(self.proxy.renewals)} token requests in {len(renewals)} renewals\n"
            f"{self.program.interruptions.total()} interruptions: {_listed(self.program.interruptions)}\n"
            f"{len(self.program.children)} children"
        )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.most_common())
