"""Any sequence of requests, expiries, revocations, outages and copies, against a model that foresees each request."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from support import Clock, at_once, finish_renewals

from gopacs_session import AuthorizationServerError, GopacsSession, InvalidClientError
from gopacs_session.sandbox import Sandbox

MOMENTS = st.sampled_from(
    ["now", "now", "pause over", "pause over", "remembered", "stale", "stale", "stale", "unusable", "dead", "later"]
)
SECONDS = st.sampled_from([-1, 0, 1])
OUTAGES = st.sampled_from([0, 0, 0, 0, 1, 2, 3, 3, 4, 6])
KINDS = st.sampled_from(["GET", "POST", "POST of an iterator"])
REFUSAL_STATUS = st.sampled_from([401, 401, 403])
INVALID_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


@dataclass
class World:
    """What outlives a program: the server, and the clocks.

    Attributes:
        sandbox: the server.
        clock: the program's clocks, which a suspension and a clock's setting tell apart.
        server_time: by the server's clock, which always goes on.
    """

    sandbox: Sandbox
    clock: Clock
    server_time: float = 1_000.0

    def last_token(self) -> int:
        """The number of the newest token, which is issued for this."""
        with self.sandbox.session() as session:
            session.fetch_token()
        return int(self.sandbox.token_requests[-1].token_number or 0)


@dataclass
class Held:
    """The token that the session holds.

    Attributes:
        number: which.
        life: in seconds.
        end: of its life, by the monotonic clock.
        wall_end: the same, by the wall clock.
        issued_at: by the monotonic clock.
        of_a_refusal: it came of one, and no replay that bore it has been accepted.
    """

    number: int
    life: float
    end: float
    wall_end: float
    issued_at: float
    of_a_refusal: bool = False

    @property
    def stale(self) -> float:
        """Seconds before its end from which it is stale."""
        return min(60, self.life / 2)

    @property
    def unusable(self) -> float:
        """Likewise."""
        return min(5, self.life / 10)


class Program(RuleBasedStateMachine):
    """A program with one session at a time, and a model of it.

    The model knows which token the session holds, until when the server takes which token, how many token requests and
    API requests will be refused, what error the session remembers, and when it may renew again after a failure.
    """

    stored = Bundle("stored")

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.sandbox, self.clock = world, world.sandbox, world.clock
        self.sessions = [self.sandbox.session()]
        self.held: Held | None = None
        self.refused: int | None = None
        self.server_takes: dict[int, float] = {}
        self.numbers: dict[str, int] = {}
        self.executed: set[str] = set()
        self.forget_failures()
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
        left = self.left()
        moments = {
            "pause over": self.retry_at - self.now,
            "remembered": self.remembered_until - self.now,
            "later": 1000,
        }
        if self.held:
            moments |= {"stale": left - self.held.stale, "unusable": left - self.held.unusable, "dead": left}
        passed = max(0, max(0, moments.get(until, 0)) + seconds)
        self.clock.advance(passed)
        self.world.server_time += passed

    @rule(seconds=st.sampled_from([5, 100, 3600]))
    def machine_is_suspended(self, seconds: float) -> None:
        """The monotonic clock stands still meanwhile."""
        self.clock.wall += seconds
        self.world.server_time += seconds

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

    def outage_grows(self, n: int, retry_after: int = 0) -> None:
        """So many token requests more will fail."""
        headers = {"Retry-After": str(retry_after)} if retry_after else {}
        if n:
            self.sandbox.answer_next_token_requests(n, (408, 429, 500, 502, 503, 504)[n % 6], headers=headers)
        self.outage += [retry_after] * n

    @rule(n=st.integers(1, 2), retry_after=st.sampled_from([5, 6, 30, 3600]))
    def server_asks_to_wait(self, n: int, retry_after: int) -> None:
        self.outage_grows(n, retry_after)

    @rule(n=st.integers(1, 3), status=REFUSAL_STATUS)
    def api_refuses(self, n: int, status: int) -> None:
        self.sandbox.answer_next_api_requests(n, status, headers=INVALID_TOKEN)
        self.refusals += [status] * n

    @rule()
    def client_is_disabled(self) -> None:
        self.sandbox.client_enabled = False

    @rule()
    def mend(self) -> None:
        self.sandbox.client_enabled = True
        self.sandbox.answer_next_token_requests(0, 200)
        self.sandbox.answer_next_api_requests(0, 200)
        self.outage: list[int] = []
        self.refusals: list[int] = []

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
        if how == "copy":
            self.sessions.append(copy.copy(self.session))
            self.forget_failures()
        else:
            self.go_on_with(
                pickle.loads(pickle.dumps(self.session)) if how == "pickle" else copy.deepcopy(self.session)
            )

    def go_on_with(self, session: GopacsSession) -> None:
        self.hold(self.session.token)
        self.refused = None
        self.forget_failures()
        self.sessions.append(session)

    def hold(self, token: dict[str, Any]) -> None:
        """The session takes this token: the wall clock tells how much of its life is left, but never more than all."""
        self.held = None
        if token:
            life = token["expires_in"]
            left = min(life, token["expires_at"] - self.clock.wall)
            end = self.now + left
            self.held = Held(self.numbers[token["access_token"]], life, end, self.clock.wall + left, end - life)

    # -- what the session does -----------------------------------------------------------------------------------------

    @rule()
    def fetch(self) -> None:
        tries, error = self.renewal(insist=True)
        if error:
            with pytest.raises(error):
                self.session.fetch_token()
        else:
            assert self.session.fetch_token() == self.session.token
        self.settle(tries, [])

    @precondition(lambda self: self.now < self.remembered_until)
    @rule()
    def failure_is_mended_by_hand(self) -> None:
        """A new token is insisted on while an error is remembered, and needs a successor before that would be over."""
        self.mend()
        self.fetch()
        self.tokens_are_revoked()
        self.request_once("GET")

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
        refusal = self.api_refusal(number)
        if refusal and behind:
            self.send_without_knowing(kind)
        elif refusal and self.in_vain():
            assert self.send(kind) == refusal
            self.settle(tries, [number])
        elif refusal and kind == "POST of an iterator":
            assert self.send(kind) == refusal
            self.refused = number
            self.settle(tries, [number])
        elif refusal:
            self.expect_replay(kind, number, tries)
        else:
            outcome = self.send(kind)
            more = self.renewal()[0] if behind else 0
            assert outcome == 200
            self.settle(tries + more, [number])

    def expect_replay(self, kind: str, refused: int, tries: int) -> None:
        """The first answer is a refusal: one renewal, and then one replay if that brought a token."""
        more, error = self.renewal(refused)
        if error:
            assert self.send(kind) == error
            self.settle(tries + more, [refused])
            return
        refusal = self.api_refusal(self.held.number)
        self.held.of_a_refusal = bool(refusal)
        assert self.send(kind) == (refusal or 200)
        self.settle(tries + more, [refused, self.held.number])

    def send_without_knowing(self, kind: str) -> None:
        """A renewal behind a request, and another that is due for a refusal, may be one, or one after the other."""
        assert self.send(kind) in (200, 401, 403, AuthorizationServerError, InvalidClientError)
        finish_renewals()
        assert len(self.sandbox.token_requests) <= 2 * 3
        self.look_again()

    @precondition(lambda self: not self.refusals)
    @rule(threads=st.sampled_from([2, 4]), until=MOMENTS, seconds=SECONDS, outage=OUTAGES)
    def burst(self, threads: int, until: str, seconds: float, outage: int) -> None:
        """Threads at once cost what one costs. Without a memory of the failure, each of them may try a renewal."""
        self.wait(until, seconds)
        self.outage_grows(outage)
        surely, old = self.would_renew(), self.held
        refused = self.server_takes.get(old.number, 0) <= self.world.server_time if old else False
        in_vain = refused and self.usable() and self.in_vain()
        tries, error = self.renewal() if not self.usable() or refused or self.renews_behind() else (0, None)
        outcomes = at_once(threads, lambda: self.send("GET"))
        if surely and not in_vain:
            assert outcomes == [200] * threads
            borne = [exchange.token_number for exchange in self.sandbox.api_requests]
            assert set(borne) <= {held.number for held in (old, self.held) if held}
            assert threads <= len(borne) <= 2 * threads
            self.held.of_a_refusal = self.held.of_a_refusal and not refused
            self.settle(tries, borne)
        elif old is None and error and self.now < self.remembered_until:
            assert outcomes == [error] * threads
            self.settle(tries, [])
        else:
            assert set(outcomes) <= {200, 401, AuthorizationServerError, InvalidClientError}
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

    def left(self) -> float:
        """Seconds until the end of the token's life, by the clock that says so first."""
        return min(self.held.end - self.now, self.held.wall_end - self.clock.wall) if self.held else 0

    def usable(self) -> bool:
        return self.held is not None and self.held.number != self.refused and self.left() > self.held.unusable

    def renews_behind(self) -> bool:
        assert self.held
        return self.left() <= self.held.stale and self.retry_at <= self.now

    def in_vain(self) -> bool:
        """Whether the token is the young answer to a refusal, so that another refusal of it stands."""
        assert self.held
        return self.held.of_a_refusal and self.now - self.held.issued_at < 5

    def would_renew(self) -> bool:
        tries = self.outage[:3]
        refusing = len(tries) == 3 or max(tries, default=0) > 5 or not self.sandbox.client_enabled
        return not refusing and self.now >= self.remembered_until

    def forget_failures(self) -> None:
        self.error: type[Exception] | None = None
        self.retry_at = self.remembered_until = 0.0

    def renewal(self, refused: int | None = None, *, insist: bool = False) -> tuple[int, type[Exception] | None]:
        """How many token requests the renewal takes that comes next, and what error it ends in."""
        if self.now < self.remembered_until and not insist:
            return 0, self.error
        tries, wait = 0, 0
        while self.outage and tries < 3 and wait <= 5:
            tries, wait = tries + 1, self.outage.pop(0)
        if tries == 3 or wait > 5:
            return tries, self.failure(AuthorizationServerError, min(wait, 60) if wait > 5 else 0)
        if not self.sandbox.client_enabled:
            return tries + 1, self.failure(InvalidClientError, 1)
        self.issued += 1
        life = self.sandbox.token_lifetime
        of_a_refusal = self.held is not None and self.held.number in (refused, self.refused)
        self.held = Held(self.issued, life, self.now + life, self.clock.wall + life, self.now, of_a_refusal)
        self.server_takes[self.issued] = self.world.server_time + life
        self.forget_failures()
        return tries + 1, None

    def failure(self, error: type[Exception], remembered: float) -> type[Exception]:
        self.error, self.remembered_until = error, self.now + remembered
        self.retry_at = max(self.remembered_until, self.now + 5)
        return error

    def api_refusal(self, number: int) -> int:
        """The status by which the API refuses its next request, which bears this token; 0 if it does not."""
        if self.refusals:
            return self.refusals.pop(0)
        return 401 if self.server_takes.get(number, 0) <= self.world.server_time else 0

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
                self.server_takes[exchange.token_number] = self.world.server_time + self.sandbox.token_lifetime
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
    world = World(sandbox, clock)
    monkeypatch.setattr("gopacs_session.sandbox.realm.monotonic", lambda: world.server_time)
    run_state_machine_as_test(
        lambda: Program(world),
        settings=settings(max_examples=120, stateful_step_count=40, deadline=None, derandomize=True, database=None),
    )
