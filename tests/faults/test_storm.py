"""64 threads on one session in a storm of faults, as the servers saw it.

By default each fault comes once, which takes half a minute. The long run, by hand::

    tox -e faults -- tests/faults/test_storm.py -o faulthandler_timeout=0 --storm-requests 100000

`--storm-seed` repeats the order of the faults, their strength, and which of the servers they are meant for; which
request of which thread they hit is the scheduler's choice. The pauses between tries pass ten times as fast.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from random import Random

import pytest

import gopacs_session.clock
from gopacs_session import AuthorizationServerError, GopacsSession, InvalidClientError, TokenRequestError
from gopacs_session.sandbox import Sandbox

from .breakages import ON_CONNECTION, ON_REQUEST, young_token
from .conftest import STORM_REPORT
from .program import CALLS_OF_A_CHILD, Labelling, Program, WithoutLock
from .proxy import Proxy, running
from .schedule import FAULTS, Stage
from .storm import THREADS, Ledger, Storm

TOKEN_ERRORS = TokenRequestError, AuthorizationServerError, InvalidClientError
LIFE = 8.0  # seconds that a token lives, the second half of them stale


def threads_and_descriptors() -> tuple[set[str], int]:
    gc.collect()
    return {thread.name for thread in threading.enumerate()}, len(os.listdir("/proc/self/fd"))


@contextmanager
def controlled_by(stage: Stage) -> Iterator[None]:
    """The session's clocks, resolver and patience are in the hand of the stage; its log is silent."""
    sleep = time.sleep
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gopacs_session.clock, "time", stage.wall)
        patch.setattr(gopacs_session.clock, "monotonic", stage.monotonic)
        patch.setattr(gopacs_session.clock, "sleep", lambda seconds: sleep(seconds / 10))
        patch.setattr("socket.getaddrinfo", stage.names)
        patch.setattr(logging.getLogger("gopacs_session"), "disabled", True)
        yield


@contextmanager
def storm_over(sandbox: Sandbox, proxy: Proxy, stage: Stage) -> Iterator[Storm]:
    adapter = Labelling()
    with GopacsSession(sandbox.client_id, sandbox.client_secret, proxy.environment) as session:
        session.trust_env = False
        session.verify = proxy.ca_file
        session.mount("https://", adapter)
        session.cookies._cookies_lock = WithoutLock()
        stage.act_upon(sandbox, proxy, session)
        yield Storm(Program(session, adapter, proxy.api_url), Ledger(sandbox), proxy, stage)


@pytest.fixture(scope="module")
def storm(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Storm:
    """A storm that is over: session, proxy and sandbox are closed."""
    stage = Stage(Random(pytestconfig.getoption("--storm-seed")))  # noqa: S311 - no cryptography
    before = threads_and_descriptors()
    started = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(controlled_by(stage))
        sandbox = stack.enter_context(Sandbox(token_lifetime=LIFE, on_request=stage.on_request))
        directory = tmp_path_factory.mktemp("storm")
        proxy = stack.enter_context(running(Proxy(sandbox, directory, stage.random, stage.monotonic)))
        with storm_over(sandbox, proxy, stage) as storm, ThreadPoolExecutor(THREADS) as pool:
            storm.rage(pool, pytestconfig.getoption("--storm-requests"))
        gc.collect()  # urllib3 closes the connections of a pool when the pool goes.
        if not proxy.wait_until_connections_are(0):
            storm.lost_connections.append("none")
    storm.ledger.close_page()
    storm.before_and_after = before, threads_and_descriptors()
    pytestconfig.stash[STORM_REPORT] = storm.report(time.monotonic() - started)
    return storm


def test_no_api_request_lacks_its_token(storm: Storm) -> None:
    """Whatever happens, no request reaches the API without a token of the authorization server."""
    assert storm.ledger.api_requests > THREADS * len(FAULTS)
    assert storm.ledger.without_token == []


def test_nothing_is_executed_twice(storm: Storm) -> None:
    """Each request is executed once at most, and once if its caller got an answer of 200."""
    assert {path: n for path, n in storm.ledger.executed.items() if n > 1} == {}
    assert [path for path in storm.program.served if storm.ledger.executed[path] != 1] == []


def test_each_caller_gets_the_answer_to_its_own_request(storm: Storm) -> None:
    """No connection that a fault left behind gives a caller the answer to somebody else's request."""
    assert storm.program.mixed_up == []


def test_one_token_request_is_in_flight_at_a_time(storm: Storm) -> None:
    """No token request of a process arrives while it still waits for the answer to another."""
    assert storm.proxy.most_token_requests == 1


def test_no_renewal_takes_more_than_three_tries(storm: Storm) -> None:
    """No renewal sends more than three token requests."""
    assert ("", "") not in storm.proxy.renewals
    assert max(Counter(storm.proxy.renewals).values()) == 3


def test_failures_are_remembered(storm: Storm) -> None:
    """No token request comes within 1 s of refused credentials, or before the time that the server asks to wait."""
    assert storm.proxy.hasty == []
    renewals = {name: page.renewals for name, _, page in storm.in_faults}
    assert renewals["client disabled"] > 0
    assert renewals["asked to wait"] > 0


def test_a_refused_token_is_not_renewed_for_ever(storm: Storm) -> None:
    """An API that refuses each token, or each young one, costs one renewal, beside those of lost and stale tokens."""
    stubborn = [row for row in storm.in_faults if row[0] in ("API refuses every token", "API's clock behind")]
    assert [row for row in stubborn if row[2].renewals > 2 + row[1]] == []


def test_no_token_is_sent_after_its_time(storm: Storm) -> None:
    """Neither a suspended machine nor a wall clock that is set back makes the session send a token that has ended."""
    suspended = [row for row in storm.in_faults if row[0] in ("machine suspended", "wall clock set back")]
    assert [row for row in suspended if row[2].refusals] == []


def test_interrupts_are_their_callers(storm: Storm) -> None:
    """What a signal handler raises reaches the caller whom it interrupts, and is no failure to get a token."""
    assert not {error.__name__ for error in TOKEN_ERRORS} & set(storm.program.interruptions)
    assert set(storm.program.interruptions) - {"200"}


def test_children_are_served(storm: Storm) -> None:
    """A process that is forked in mid-flight is served at once."""
    assert storm.program.children
    assert [child for child in storm.program.children if child != {"200": CALLS_OF_A_CHILD}] == []


def test_callers_see_typed_errors_only(storm: Storm) -> None:
    """Every failure is an exception of requests, to which those of the session belong."""
    assert storm.program.untyped == []


def test_service_is_back_within_one_renewal(storm: Storm) -> None:
    """When a fault is over, each of 64 threads is served at once, at the cost of one renewal at most."""
    assert [row for row in storm.after_faults if row[1] != {"200": THREADS}] == []
    assert [row for row in storm.after_faults if row[2] > 1] == []


def test_each_fault_was_felt(storm: Storm) -> None:
    """No fault of the storm is a fair-weather one."""
    assert set(storm.failures) == set(FAULTS)
    assert {fault.__name__ for fault in (*ON_CONNECTION, *ON_REQUEST, young_token)} == set(storm.proxy.faults)
    assert storm.stage.names.failures > 0


def test_nothing_is_left(storm: Storm) -> None:
    """Each connection is closed or kept for later; a closed session leaves no connection, thread or descriptor."""
    assert storm.lost_connections == []
    before, after = storm.before_and_after
    assert after == before
