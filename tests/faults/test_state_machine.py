"""Any sequence of requests, expiries, revocations, outages and copies, against a model that foresees each request."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule, run_state_machine_as_test
from support import Clock, at_once, finish_renewals

from gopacs_session import AuthorizationServerError, GopacsSession, InvalidClientError
from gopacs_session.sandbox import Sandbox

MOMENTS = st.sampled_from(["now", "now", "pause over", "forgotten", "forgotten", "stale", "stale", "unusable", "dead"])
INVALID_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}

Outcome = int | type[Exception]


@dataclass
class Held:
    """The token that the session holds; its times are those of the wall clock.

    Attributes:
        number: which.
        is_unproven: it replaced a refused one, and no replay with it has been accepted.
    """

    number: int
    life: float
    expires_at: float
    is_unproven: bool = False


class Program(RuleBasedStateMachine):
    """A program with one session at a time, and a model of it.

    The model knows which token the session holds, which ones the API takes, how many token requests and API requests
    will be refused, what failure the session remembers, and when it may renew behind a request again.
    """

    stored = Bundle("stored")

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, clock.monotonic, clock.wall = clock, 1_000.0, 1_800_000_000.0
        self.sandbox = Sandbox()
        self.sandbox.__enter__()
        self.sessions = [self.sandbox.session()]
        self.held: Held | None = None
        self.issued, self.revoked, self.newest_lives_until, self.server_time = 0, 0, 0.0, 0.0
        self.refused: int | None = None
        self.outage: list[int] = []
        self.refusals: list[int] = []
        self.forget_failures()

    def teardown(self) -> None:
        for session in self.sessions:
            session.close()
        self.sandbox.__exit__()

    @property
    def session(self) -> GopacsSession:
        return self.sessions[-1]

    # -- the world -----------------------------------------------------------------------------------------------------

    @initialize(life=st.sampled_from([20, 90, 300]))
    def tokens_live(self, life: float) -> None:
        self.sandbox.token_lifetime = life

    def server_goes_on(self, seconds: float) -> None:
        self.server_time += seconds
        if self.server_time >= self.newest_lives_until:
            self.tokens_are_revoked()

    @rule()
    def tokens_are_revoked(self) -> None:
        self.sandbox.revoke_tokens()
        self.revoked = self.issued

    def wait(self, until: str, seconds: float) -> None:
        """Let time pass until a moment of the session's, give or take a second."""
        monotonic, left = self.clock.monotonic, self.left()
        moments = {"pause over": self.next_behind - monotonic, "forgotten": self.remembered_until - monotonic}
        if self.held:
            moments |= {"stale": left - self.stale(), "unusable": left - self.unusable(), "dead": left}
        passed = max(0.0, moments.get(until, 0.0) + seconds)
        self.clock.advance(passed)
        self.server_goes_on(passed)

    @rule(seconds=st.sampled_from([-3600, -3, 5, 3600]), suspended=st.booleans())
    def wall_clock_jumps(self, seconds: float, suspended: bool) -> None:
        """Somebody sets it; or the machine was suspended, and the monotonic clock stood still meanwhile."""
        self.clock.wall += seconds
        self.server_goes_on(max(0.0, seconds) * suspended)

    @rule(n=st.integers(1, 4), retry_after=st.sampled_from([0, 0, 5, 6, 30, 3600]))
    def token_requests_will_fail(self, n: int, retry_after: int) -> None:
        headers = {"Retry-After": str(retry_after)} if retry_after else {}
        if n:  # 0 would drop those before.
            self.sandbox.answer_next_token_requests(n, (408, 429, 500, 503)[n % 4], headers=headers)
        self.outage += [retry_after] * n

    @rule(n=st.integers(1, 3), status=st.sampled_from([401, 403]))
    def api_will_refuse(self, n: int, status: int) -> None:
        if n:
            self.sandbox.answer_next_api_requests(n, status, headers=INVALID_TOKEN)
        self.refusals += [status] * n

    @rule()
    def client_is_disabled(self) -> None:
        self.sandbox.client_enabled = False

    @rule()
    def faults_are_over(self) -> None:
        self.sandbox.client_enabled = True
        self.sandbox.answer_next_token_requests(0, 200)
        self.sandbox.answer_next_api_requests(0, 200)
        self.outage, self.refusals = [], []

    # -- tokens that come from elsewhere -------------------------------------------------------------------------------

    @rule(target=stored)
    def token_is_stored(self) -> Any:
        return (self.session.token, self.held.number) if self.held else multiple()

    @rule(token=stored)
    def token_is_put_back(self, token: tuple[dict[str, Any], int]) -> None:
        self.session.token, number = token
        life, expires_at = token[0]["expires_in"], token[0]["expires_at"]
        self.held = Held(number, life, min(expires_at, self.clock.wall + life))
        self.refused = None

    @rule(duplicate=st.sampled_from([copy.copy, copy.deepcopy, lambda session: pickle.loads(pickle.dumps(session))]))
    def session_is_copied(self, duplicate: Callable[[GopacsSession], GopacsSession]) -> None:
        self.sessions.append(duplicate(self.session))
        if duplicate is not copy.copy:
            self.forget_failures()

    # -- what the session does -----------------------------------------------------------------------------------------

    @rule()
    def fetch(self) -> None:
        """A new token is insisted on, whatever failed just now."""
        self.remembered_until = 0.0
        tries, error = self.renewal()
        if error:
            with pytest.raises(error):
                self.session.fetch_token()
        else:
            assert self.session.fetch_token() == self.session.token
        self.settle(tries, [])

    @rule(
        kind=st.sampled_from(["GET", "POST", "POST of an iterator"]),
        moment=st.tuples(MOMENTS, st.sampled_from([-1, 0, 1])),
        revoked=st.sampled_from([False, False, True]),
        outage=st.sampled_from([0, 0, 0, 1, 3]),
        refusals=st.sampled_from([0, 0, 0, 0, 4]),
        threads=st.sampled_from([1, 1, 1, 4]),
    )
    def request(self, kind: str, moment: Any, revoked: bool, outage: int, refusals: int, threads: int) -> None:
        """Threads at once cost what one costs."""
        self.wait(*moment)
        self.token_requests_will_fail(outage, 0)
        self.api_will_refuse(refusals, 401)
        if revoked:
            self.tokens_are_revoked()
        if self.refusals or kind == "POST of an iterator":
            threads = 1  # Which of several would meet it is the scheduler's choice.
        behind = self.renews_behind()
        outcome, tries, borne = self.expected(kind)
        assert at_once(threads, lambda: self.send(kind)) == [outcome] * threads
        self.settle(tries, borne, threads)
        if behind and self.held:  # A refused token's successor came for the refusal, or behind the request.
            self.token_is_put_back((self.session.token, self.held.number))

    def send(self, kind: str) -> Outcome:
        method, _, iterator = kind.partition(" ")
        data = b"message" if method == "POST" else None
        try:
            answer = self.session.request(method, self.sandbox.api_url, data=iter([data]) if iterator else data)
        except requests.RequestException as error:
            return type(error)
        return answer.status_code

    def settle(self, tries: int, borne: list[int], threads: int = 1) -> None:
        """What the server has on record since the last time is what the model says."""
        finish_renewals()
        assert len(self.sandbox.token_requests) == tries
        numbers = [exchange.token_number for exchange in self.sandbox.api_requests]
        if threads == 1:
            assert numbers == borne
        else:  # Some may come so late that they have the next token at once.
            assert set(numbers) <= {*borne, self.held and self.held.number}
            assert bool(borne) * threads <= len(numbers) <= len(borne) * threads
        self.sandbox.token_requests.clear()
        self.sandbox.api_requests.clear()

    # -- the model -----------------------------------------------------------------------------------------------------

    def expected(self, kind: str) -> tuple[Outcome, int, list[int]]:
        """The outcome of a request, the number of token requests, and the tokens that the API sees."""
        tries, error = (0, None) if self.usable() else self.renewal()
        if error or not self.held:
            return error or 200, tries, []
        old, behind = self.held, self.renews_behind()
        refusal = self.api_refusal()
        if behind:
            tries, error = self.renewal()
            self.next_behind = self.clock.monotonic + 5 if error else 0.0
        if not refusal or self.is_young_replacement(old):
            return refusal or 200, tries, [old.number]
        if kind == "POST of an iterator":
            self.refused = old.number
            return refusal, tries, [old.number]
        if not behind:
            more, error = self.renewal(old.number)
            tries += more
        if error:
            return error, tries, [old.number]
        again = self.api_refusal()
        self.held.is_unproven = bool(again)
        return again or 200, tries, [old.number, self.held.number]

    def left(self) -> float:
        return self.held.expires_at - self.clock.wall if self.held else 0.0

    def stale(self) -> float:
        """Seconds before its end from which the token is stale."""
        return min(60.0, self.held.life / 2) if self.held else 0.0

    def unusable(self) -> float:
        """Likewise."""
        return min(5.0, self.held.life / 10) if self.held else 0.0

    def usable(self) -> bool:
        return self.held is not None and self.held.number != self.refused and self.left() > self.unusable()

    def renews_behind(self) -> bool:
        return self.usable() and self.left() <= self.stale() and self.clock.monotonic >= self.next_behind

    def is_young_replacement(self, held: Held) -> bool:
        """Whether another refusal is no reason to renew."""
        return held.is_unproven and 0 <= held.life - (held.expires_at - self.clock.wall) < 5

    def api_refusal(self) -> int:
        """The status by which the API refuses the next request, which bears the current token; 0 if it does not."""
        if self.refusals:
            return self.refusals.pop(0)
        return 401 if self.held and self.held.number <= self.revoked else 0

    def forget_failures(self) -> None:
        self.error: type[Exception] | None = None
        self.remembered_until = self.next_behind = 0.0

    def renewal(self, refused: int | None = None) -> tuple[int, type[Exception] | None]:
        """How many token requests the next renewal takes, and what error it ends in."""
        monotonic = self.clock.monotonic
        if monotonic < self.remembered_until:
            return 0, self.error
        tries, retry_after = 0, 0
        while self.outage and tries < 3 and retry_after <= 5:
            tries, retry_after = tries + 1, self.outage.pop(0)
        if tries == 3 or retry_after > 5:
            self.error, self.remembered_until = AuthorizationServerError, monotonic + max(1, min(retry_after, 60))
            return tries, self.error
        if not self.sandbox.client_enabled:
            self.error, self.remembered_until = InvalidClientError, monotonic + 1
            return tries + 1, self.error
        self.issued += 1
        is_unproven = self.held is not None and self.held.number in (refused, self.refused)
        life = self.sandbox.token_lifetime
        self.held = Held(self.issued, life, self.clock.wall + life, is_unproven)
        self.newest_lives_until, self.remembered_until = self.server_time + life, 0.0
        return tries + 1, None


@pytest.mark.usefixtures("pauses")
def test_a_program_of_any_steps(clock: Clock) -> None:
    """Whatever a program does and meets, each of its steps costs exactly the token requests and the replays it must."""
    fixed = settings(max_examples=100, stateful_step_count=40, deadline=None, derandomize=True, database=None)
    # To shrink a failure takes minutes, after which pytest would take the test for hung.
    run_state_machine_as_test(lambda: Program(clock), settings=settings(fixed, phases=[Phase.generate]))
