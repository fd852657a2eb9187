"""Any sequence of requests, expiries, revocations, outages and copies, against a model that foresees each request."""

from __future__ import annotations

import copy
import pickle
import threading
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from support import Clock, at_once

from gopacs_session import AuthorizationServerError, GopacsSession, InvalidClientError
from gopacs_session.sandbox import Sandbox

MOMENTS = st.sampled_from(
    ["now", "now", "pause over", "pause over", "stale", "stale", "stale", "unusable", "dead", "later"]
)
SECONDS = st.sampled_from([-1, 0, 1])
OUTAGES = st.sampled_from([0, 0, 0, 0, 1, 2, 3, 3, 4, 6])
KINDS = st.sampled_from(["GET", "POST", "POST of an iterator"])
UNAUTHORIZED = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


@dataclass
class World:
    """What outlives a program: the server, and the clock that both sides go by."""

    sandbox: Sandbox
    clock: Clock

    def last_token(self) -> int:
        """The number of the newest token, which is issued for this."""
        with self.sandbox.session() as session:
            session.fetch_token()
        return int(self.sandbox.token_requests[-1].token_number or 0)


@dataclass
class Held:
    """The token that the session holds, by its number, and when the session takes it for stale and for unusable."""

    number: int
    life: float
    end: float

    @property
    def stale_at(self) -> float:
        return self.end - min(60, self.life / 2)

    @property
    def unusable_at(self) -> float:
        return self.end - min(5, self.life / 10)


def finish_renewals() -> None:
    """Wait for renewals behind requests."""
    for thread in threading.enumerate():
        if thread.name == "gopacs_session renewal":
            thread.join(10)


class Program(RuleBasedStateMachine):
    """A program with one session at a time, and a model of it.

    The model knows which token the session holds, until when the server takes which token, how many token requests and
    API requests will be refused, and when the session may renew again after a failure.
    """

    stored = Bundle("stored")

    def __init__(self, world: World) -> None:
        super().__init__()
        self.sandbox, self.clock = world.sandbox, world.clock
        self.sessions = [self.sandbox.session()]
        self.held: Held | None = None
        self.server_takes: dict[int, float] = {}
        self.numbers: dict[str, int] = {}
        self.executed: set[str] = set()
        self.retry_at = 0.0
        self.clock.wall = 1_800_000_000.0 + self.clock.monotonic
        self.mend()
        self.issued, self.messages = world.last_token(), 0
        self.forget_exchanges()

    def teardown(self) -> None:
        for session in self.sessions:
            session.close()

    @property
    def session(self) -> GopacsSession:
        return self.sessions[-1]

    @property
    def now(self) -> float:
        return self.clock.monotonic

    # -- the world -----------------------------------------------------------------------------------------------------

    def wait(self, until: str, seconds: float) -> None:
        """Let time pass until a moment of the session's, give or take a second, or for so many seconds from now."""
        moments = {"now": self.now, "pause over": max(self.now, self.retry_at), "later": self.now + 1000}
        if self.held:
            moments |= {"stale": self.held.stale_at, "unusable": self.held.unusable_at, "dead": self.held.end}
        self.clock.advance(max(0, moments.get(until, self.now) + seconds - self.now))

    @rule(seconds=st.sampled_from([-3600, 3600]), before=st.sampled_from(["store", "pickle", ""]))
    def wall_clock_jumps(self, seconds: float, before: str) -> None:
        token, pickled = self.session.token, pickle.dumps(self.session)
        self.clock.wall += seconds
        if before == "store":
            self.token_is_put_back(token)
        elif before == "pickle":
            self.go_on_with(pickle.loads(pickled))

    @initialize(life=st.sampled_from([10, 60, 300, 300]))
    def tokens_live(self, life: float) -> None:
        self.sandbox.token_lifetime = life

    @rule()
    def tokens_are_revoked(self) -> None:
        self.sandbox.revoke_tokens()
        self.server_takes.clear()

    def outage_grows(self, n: int) -> None:
        """So many token requests more will fail."""
        if n:
            self.sandbox.answer_next_token_requests(n, (429, 500, 502, 503, 504)[n % 5])
        self.outage += n

    @rule(n=st.integers(1, 3))
    def api_refuses(self, n: int) -> None:
        self.sandbox.answer_next_api_requests(n, 401, headers=UNAUTHORIZED)
        self.refusals += n

    @rule()
    def client_is_disabled(self) -> None:
        self.sandbox.client_enabled = False

    @rule()
    def mend(self) -> None:
        self.sandbox.client_enabled = True
        self.sandbox.answer_next_token_requests(0, 200)
        self.sandbox.answer_next_api_requests(0, 200)
        self.outage = self.refusals = 0

    # -- tokens that come from elsewhere -------------------------------------------------------------------------------

    @rule(target=stored)
    def token_is_stored(self) -> dict[str, Any]:
        return self.session.token

    @rule(token=stored)
    def token_is_put_back(self, token: dict[str, Any]) -> None:
        self.session.token = token
        self.hold(token)

    @rule(how=st.sampled_from(["pickle", "deepcopy", "copy"]))
    def session_is_copied(self, how: str) -> None:
        if how == "pickle":
            self.go_on_with(pickle.loads(pickle.dumps(self.session)))
        elif how == "deepcopy":
            self.go_on_with(copy.deepcopy(self.session))
        else:
            self.sessions.append(copy.copy(self.session))  # which shares the token with the first

    def go_on_with(self, session: GopacsSession) -> None:
        self.hold(self.session.token)
        self.retry_at = 0.0
        self.sessions.append(session)

    def hold(self, token: dict[str, Any]) -> None:
        """The session takes this token: the wall clock tells how much of its life is left, but never more than all."""
        self.held = None
        if token:
            left = min(token["expires_in"], token["expires_at"] - self.clock.wall)
            self.held = Held(self.numbers[token["access_token"]], token["expires_in"], self.now + left)

    # -- what the session does -----------------------------------------------------------------------------------------

    @rule()
    def fetch(self) -> None:
        tries, error = self.renewal()
        if error:
            with pytest.raises(error):
                self.session.fetch_token()
        else:
            assert self.session.fetch_token() == self.session.token
        self.settle(tries, [])

    @rule(kind=KINDS, until=MOMENTS, seconds=SECONDS, outage=OUTAGES, times=st.sampled_from([1, 2]))
    def request(self, kind: str, until: str, seconds: float, outage: int, times: int) -> None:
        self.wait(until, seconds)
        self.outage_grows(outage)
        for _ in range(times):
            self.request_once(kind)

    def request_once(self, kind: str) -> None:
        tries, error = (0, None) if self.usable() else self.renewal()
        if error:
            assert self.send(kind) == error
            self.settle(tries, [])
            return
        number, behind = self.held.number, self.renews_behind()
        refused = self.api_refusal(number)
        if refused and behind and not self.would_renew():
            self.send_without_knowing(kind)
        elif refused:
            self.expect_replay(kind, number, tries)
        else:
            outcome = self.send(kind)
            more = self.renewal()[0] if behind else 0
            assert outcome == 200
            self.settle(tries + more, [number])

    def expect_replay(self, kind: str, refused: int, tries: int) -> None:
        """The first answer is a 401: one renewal, behind the request or not, and then one replay if that can be."""
        more, error = self.renewal()
        outcome = self.send(kind)
        if error or kind == "POST of an iterator":
            assert outcome == (error or 401)
            self.settle(tries + more, [refused])
        else:
            assert outcome == (401 if self.api_refusal(self.held.number) else 200)
            self.settle(tries + more, [refused, self.held.number])

    def send_without_knowing(self, kind: str) -> None:
        """A renewal behind a request fails while another is due for a 401: they may be one, or one after the other."""
        assert self.send(kind) in (200, 401, AuthorizationServerError, InvalidClientError)
        finish_renewals()
        assert len(self.sandbox.token_requests) <= 2 * 3
        self.look_again()

    @precondition(lambda self: not self.refusals)
    @rule(threads=st.sampled_from([2, 4]), until=MOMENTS, seconds=SECONDS, outage=OUTAGES)
    def burst(self, threads: int, until: str, seconds: float, outage: int) -> None:
        """Threads at once cost what one costs; if a renewal fails, each of them may try one."""
        self.wait(until, seconds)
        self.outage_grows(outage)
        surely, old = self.would_renew(), self.held
        due = not self.usable() or self.renews_behind() or self.server_takes.get(old.number, 0) <= self.now
        tries = self.renewal()[0] if due else 0
        outcomes = at_once(threads, lambda: self.send("GET"))
        if surely:
            assert outcomes == [200] * threads
            borne = [exchange.token_number for exchange in self.sandbox.api_requests]
            assert set(borne) <= {held.number for held in (old, self.held) if held}
            assert threads <= len(borne) <= 2 * threads
            self.settle(tries, borne)
            return
        assert set(outcomes) <= {200, AuthorizationServerError, InvalidClientError}
        finish_renewals()
        assert len(self.sandbox.token_requests) <= 3 * (threads + 1)
        self.look_again()

    def send(self, kind: str) -> int | type[Exception]:
        """The status of the answer, or what kind of error there is instead."""
        self.messages += 1  # Of several threads, only such increment it as send no message.
        method, _, iterator = kind.partition(" ")
        data = f"message {self.messages}".encode() if method == "POST" else None
        try:
            url = f"{self.sandbox.api_url}/{method}/{self.messages}"
            answer = self.session.request(method, url, data=iter([data]) if iterator else data)
        except requests.RequestException as error:
            return type(error)
        return answer.status_code

    # -- the model -----------------------------------------------------------------------------------------------------

    def usable(self) -> bool:
        return self.held is not None and self.now < self.held.unusable_at

    def renews_behind(self) -> bool:
        assert self.held
        return self.held.stale_at <= self.now and self.retry_at <= self.now

    def would_renew(self) -> bool:
        return self.outage < 3 and self.sandbox.client_enabled

    def renewal(self) -> tuple[int, type[Exception] | None]:
        """How many token requests the renewal takes that comes next, and what error it ends in."""
        tries, enabled, over = min(3, self.outage + 1), self.sandbox.client_enabled, self.outage < 3
        self.outage = max(0, self.outage - 3)
        if not (over and enabled):
            self.retry_at = self.now + 5
            return tries, InvalidClientError if over else AuthorizationServerError
        self.issued += 1
        self.held = Held(self.issued, self.sandbox.token_lifetime, self.now + self.sandbox.token_lifetime)
        self.server_takes[self.held.number] = self.held.end
        self.retry_at = 0.0
        return tries, None

    def api_refusal(self, number: int) -> bool:
        """Whether the API refuses its next request, which bears this token."""
        if self.refusals:
            self.refusals -= 1
            return True
        return self.server_takes.get(number, 0) <= self.now

    def settle(self, tries: int, borne: list[int]) -> None:
        """What the server has on record since the last time is what the model says."""
        finish_renewals()
        assert len(self.sandbox.token_requests) == tries
        assert [exchange.token_number for exchange in self.sandbox.api_requests] == borne
        self.forget_exchanges()

    def look_again(self) -> None:
        """Where the model cannot know how it ended: no fault any more, and a session whose token tells it all."""
        self.mend()
        for exchange in self.sandbox.token_requests:
            if exchange.token_number:
                self.issued = exchange.token_number
                self.server_takes[exchange.token_number] = self.now + self.sandbox.token_lifetime
        self.forget_exchanges()
        self.session_is_copied("pickle")

    def forget_exchanges(self) -> None:
        """Nothing went out without a token, or was executed twice; and so a new page begins."""
        for exchange in self.sandbox.api_requests:
            assert exchange.token_number
            if exchange.status == 200 and exchange.method == "POST":
                assert exchange.path not in self.executed
                self.executed.add(exchange.path)
        if self.session.token:
            self.numbers.setdefault(str(self.session.access_token), self.issued)
        self.sandbox.api_requests.clear()
        self.sandbox.token_requests.clear()


@pytest.mark.usefixtures("pauses")
def test_a_program_of_any_steps(sandbox: Sandbox, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a program does and meets, each of its steps costs exactly the token requests and the replays it must."""
    monkeypatch.setattr("gopacs_session.sandbox.realm.monotonic", lambda: clock.monotonic)
    world = World(sandbox, clock)
    run_state_machine_as_test(
        lambda: Program(world),
        settings=settings(max_examples=200, stateful_step_count=40, deadline=None, derandomize=True, database=None),
    )
