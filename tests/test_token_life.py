"""When a token is renewed, and who waits for it."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from concurrent.futures import wait
from itertools import product
from typing import Any

import pytest
from support import Clock, at_once, finish_renewals, in_background

import gopacs_session.clock
from gopacs_session import AuthorizationServerError, InvalidClientError
from gopacs_session.sandbox import Sandbox


def test_nothing_is_fetched_before_the_first_request(sandbox: Sandbox) -> None:
    """A new session asks for no token until a request needs one."""
    with sandbox.session() as session:
        assert session.token == {}
        assert not session.authorized
        assert sandbox.token_requests == []
        session.get(f"{sandbox.api_url}/participants")
        assert session.authorized
    assert len(sandbox.token_requests) == 1


def test_a_fresh_token_serves_every_request(sandbox: Sandbox, clock: Clock) -> None:
    """Until the leeway before its expiry a token is used as it is."""
    with sandbox.session(leeway=60) as session:
        for _ in range(5):
            session.get(f"{sandbox.api_url}/participants")
        clock.advance(300 - 60 - 1)
        session.get(f"{sandbox.api_url}/participants")
        finish_renewals()
    assert len(sandbox.token_requests) == 1
    assert {exchange.token_number for exchange in sandbox.api_requests} == {1}


def test_a_stale_token_is_renewed_behind_the_requests(sandbox: Sandbox, clock: Clock) -> None:
    """While a stale token is renewed, requests go out at once with it, and later ones with the new one."""
    with sandbox.session(leeway=60) as session:
        session.get(f"{sandbox.api_url}/warm")
        clock.advance(300 - 60)
        before = set(threading.enumerate())
        with sandbox.hold_token_requests():
            answers = at_once(8, lambda: session.get(f"{sandbox.api_url}/stale"))
            sandbox.wait_for_token_requests(2)
            started = set(threading.enumerate()) - before
            renewals = [thread for thread in started if thread.name == "gopacs_session renewal"]
        finish_renewals()
        session.get(f"{sandbox.api_url}/renewed")
    assert [answer.status_code for answer in answers] == [200] * 8
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1] * 9 + [2]
    assert (len(sandbox.token_requests), len(renewals)) == (2, 1)


@pytest.mark.usefixtures("pauses")
def test_an_outage_while_the_token_is_stale_harms_nobody(
    sandbox: Sandbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A failed background renewal shows in the log only; the next attempt waits 5 seconds, and then works."""
    with sandbox.session() as session:
        session.get(f"{sandbox.api_url}/warm")
        clock.advance(250)
        sandbox.answer_next_token_requests(3, 503)
        for pause in 0, 0, 4.9:
            clock.advance(pause)
            assert session.get(f"{sandbox.api_url}/outage").status_code == 200
            finish_renewals()
        assert len(sandbox.token_requests) == 1 + 3
        clock.advance(0.1)
        assert session.get(f"{sandbox.api_url}/over").status_code == 200
        finish_renewals()
        assert session.get(f"{sandbox.api_url}/renewed").status_code == 200
    assert len(sandbox.token_requests) == 1 + 3 + 1
    assert sandbox.api_requests[-1].token_number == 2
    assert [record.levelno for record in caplog.records if "before it expires" in record.message] == [logging.WARNING]


def test_the_pause_after_a_failure_begins_at_its_end(
    sandbox: Sandbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a renewal behind requests took to fail, the next attempt waits a few seconds from then on."""
    monkeypatch.setattr(gopacs_session.clock, "sleep", clock.advance)
    with sandbox.session() as session:
        session.get(f"{sandbox.api_url}/warm")
        clock.advance(245)
        sandbox.answer_next_token_requests(3, 503, headers={"Retry-After": "5"})
        for _ in range(2):
            assert session.get(f"{sandbox.api_url}/outage").status_code == 200
            finish_renewals()
    assert len(sandbox.token_requests) == 1 + 3


def test_no_pause_follows_a_success(sandbox: Sandbox, clock: Clock) -> None:
    """Tokens that live 4 s are renewed behind requests each time that they turn stale."""
    sandbox.token_lifetime = 4
    with sandbox.session() as session:
        for _ in range(4):
            session.get(f"{sandbox.api_url}/stale")
            finish_renewals()
            clock.advance(2.5)
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 1, 2, 3]
    assert len(sandbox.token_requests) == 4


def test_a_life_begins_when_the_token_is_asked_for(
    sandbox: Sandbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that the answer took is no part of the token's life; that of earlier tries has nothing to do with it."""
    monkeypatch.setattr(gopacs_session.clock, "sleep", clock.advance)
    sandbox._on_request = lambda exchange: clock.advance(100)
    sandbox.answer_next_token_requests(2, 503)
    with sandbox.session(leeway=0) as session:
        assert session.fetch_token()["expires_at"] == clock.wall + 300 - 100
        sandbox._on_request = lambda exchange: None
        clock.wall -= 3600
        clock.advance(200)
        session.get(sandbox.api_url)
    assert [exchange.token_number for exchange in sandbox.api_requests] == [2]


@pytest.mark.parametrize("life, unusable", [(300, 5), (10, 1)])
def test_an_unusable_token_is_never_sent(sandbox: Sandbox, clock: Clock, life: float, unusable: float) -> None:
    """In the last 5 seconds of a token's life, or its last tenth, a request waits for the new one, and not before."""
    sandbox.token_lifetime = life
    with sandbox.session(leeway=0) as session:
        session.get(f"{sandbox.api_url}/warm")
        clock.advance(life - unusable - 0.1)
        session.get(f"{sandbox.api_url}/good")
        clock.advance(0.1)
        session.get(f"{sandbox.api_url}/late")
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 1, 2]


def test_the_leeway_is_at_most_half_the_life(sandbox: Sandbox, clock: Clock) -> None:
    """A leeway longer than the token's life does not renew it on every request."""
    sandbox.token_lifetime = 100
    with sandbox.session(leeway=3600) as session:
        session.get(f"{sandbox.api_url}/warm")
        clock.advance(49)
        session.get(f"{sandbox.api_url}/fresh")
        finish_renewals()
        assert len(sandbox.token_requests) == 1
        clock.advance(2)
        session.get(f"{sandbox.api_url}/stale")
        finish_renewals()
        assert len(sandbox.token_requests) == 2


def test_another_leeway_is_that_of_the_next_token(sandbox: Sandbox, clock: Clock) -> None:
    """A leeway that was set decides from when on the next token is renewed in the background."""
    with sandbox.session(leeway=0) as session:
        session.leeway = 100
        session.fetch_token()
        clock.advance(201)
        session.get(sandbox.api_url)
        sandbox.wait_for_token_requests(2)
    finish_renewals()


ABSENT = object()
SENSELESS: list[Any] = [
    *(ABSENT, None, True, [], {}, "", "soon"),
    *(0, -5, float("inf"), float("nan"), 1e300, 10**12, 10**400, "1" * 5000),
]


@pytest.mark.parametrize(
    "expires_in, life",
    [("300", 300), ("300.0", 300), (300.7, 300.7), *((senseless, 60) for senseless in SENSELESS)],
    ids=lambda value: repr(value)[:12],
)
def test_a_life_is_what_expires_in_makes_of_it(sandbox: Sandbox, clock: Clock, expires_in: Any, life: float) -> None:
    """Seconds count however they are written; missing, zero, negative or absurd ones count as a minute."""
    answer = {"access_token": "abc", "token_type": "Bearer"}
    if expires_in is not ABSENT:
        answer["expires_in"] = expires_in
    sandbox.answer_next_token_requests(1, 200, body=answer)
    sandbox.answer_next_api_requests(2, 200)
    with sandbox.session(leeway=0) as session:
        session.get(f"{sandbox.api_url}/warm").raise_for_status()
        assert session.token["expires_in"] == life
        clock.advance(life - 10)
        session.get(f"{sandbox.api_url}/fresh").raise_for_status()
        assert len(sandbox.token_requests) == 1
        clock.advance(10)
        session.get(f"{sandbox.api_url}/renewed").raise_for_status()
    assert len(sandbox.token_requests) == 2


@pytest.mark.parametrize("life, believed", [(366 * 24 * 3600, True), (366 * 24 * 3600 + 1, False)])
def test_a_life_of_up_to_a_year_is_believed(sandbox: Sandbox, clock: Clock, life: int, believed: bool) -> None:
    """A longer one counts as 60 seconds when it is issued, and as over when it was stored."""
    sandbox.answer_next_token_requests(1, 200, body={"access_token": "abc", "expires_in": life})
    with sandbox.session() as session:
        session.fetch_token()
        assert session.token["expires_in"] == (life if believed else 60)
        session.token = {"access_token": "abc", "expires_at": clock.wall + life}
        assert session.token["expires_at"] == clock.wall + (life if believed else 0)


def test_nothing_runs_when_no_request_is_made(sandbox: Sandbox, clock: Clock) -> None:
    """A session that idles through many lifetimes starts no thread and asks for no token."""
    before = set(threading.enumerate())
    with sandbox.session() as session:
        session.get(f"{sandbox.api_url}/warm")
        clock.advance(7 * 24 * 3600)
        started = set(threading.enumerate()) - before
        assert [thread for thread in started if "process_request" not in thread.name] == []  # the sandbox's own
        session.get(f"{sandbox.api_url}/after-a-week")
    assert len(sandbox.token_requests) == 2
    assert {exchange.authorization is not None for exchange in sandbox.api_requests} == {True}


def test_a_wall_clock_that_is_set_back_revives_no_token(sandbox: Sandbox, clock: Clock) -> None:
    """A token that is over by the monotonic clock is not sent, whatever the wall clock says."""
    with sandbox.session(leeway=0) as session:
        session.get(f"{sandbox.api_url}/warm")
        clock.wall -= 3600
        session.get(f"{sandbox.api_url}/back")
        clock.monotonic += 300
        session.get(f"{sandbox.api_url}/expired")
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 1, 2]


def test_a_suspended_machine_sends_no_dead_token(sandbox: Sandbox, clock: Clock) -> None:
    """The monotonic clock stood still for hours: the wall clock tells that the token is over. It costs one renewal."""
    with sandbox.session(leeway=0) as session:
        session.get(f"{sandbox.api_url}/warm")
        clock.wall += 7200
        for _ in range(3):
            session.get(f"{sandbox.api_url}/awake")
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 2, 2, 2]
    assert len(sandbox.token_requests) == 2


def test_a_thread_that_was_stopped_while_it_waited_asks_again(
    sandbox: Sandbox, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that waited for another's renewal, and wakes when that token is over, does not send it."""

    def stand_still(_: logging.LogRecord) -> None:
        if len(sandbox.token_requests) == 1:  # The log tells that the token came.
            clock.advance(300)

    caplog.set_level(logging.DEBUG, "gopacs_session")
    monkeypatch.setattr(caplog.handler, "emit", stand_still)
    with sandbox.session(leeway=0) as session:
        with sandbox.hold_token_requests():
            renewing = in_background(lambda: session.get(f"{sandbox.api_url}/renewing"))
            sandbox.wait_for_token_requests(1)
            waiting = in_background(lambda: session.get(f"{sandbox.api_url}/waiting"))
            wait([waiting], 0.2)
        renewing.result(10)
        waiting.result(10)
    assert {exchange.path: exchange.token_number for exchange in sandbox.api_requests}["/waiting"] == 2


def test_a_log_handler_that_raises_costs_no_token(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a handler raises at the line about a token is its caller's, and the token serves the next request."""

    def emit(_: logging.LogRecord) -> None:
        raise OSError("disk full")

    caplog.set_level(logging.DEBUG, "gopacs_session")
    monkeypatch.setattr(caplog.handler, "emit", emit)
    with sandbox.session() as session:
        with pytest.raises(OSError, match="disk full"):
            session.get(sandbox.api_url)
        assert session.get(sandbox.api_url).status_code == 200
    assert len(sandbox.token_requests) == 1


def test_a_life_is_a_second_at_least(sandbox: Sandbox, clock: Clock) -> None:
    """Tokens that live a millisecond cost a token request each second, not each request."""
    sandbox.token_lifetime = 0.001
    sandbox.answer_next_api_requests(20, 200)
    with sandbox.session(leeway=0) as session:
        for _ in range(20):
            session.get(sandbox.api_url)
            clock.advance(0.1)
    assert len(sandbox.token_requests) == 3  # In the last tenth of its life a token is not used.


# -- failures are remembered -------------------------------------------------------------------------------------------


def test_refused_credentials_cost_a_token_request_a_second(sandbox: Sandbox, clock: Clock) -> None:
    """32 threads in loops whose client is refused ask once a second in all; once it is accepted, requests succeed."""
    sandbox.client_enabled = False

    def loop() -> None:
        for _ in range(10):
            with pytest.raises(InvalidClientError):
                session.get(sandbox.api_url)

    with sandbox.session() as session:
        for second, part in product((1, 2, 3), (31 / 32, 1 / 32)):
            assert at_once(32, loop) == [None] * 32
            assert len(sandbox.token_requests) == second
            clock.advance(part)
        assert sandbox.api_requests == []
        sandbox.client_enabled = True
        assert session.get(sandbox.api_url).status_code == 200


@pytest.mark.parametrize("asked, remembered", [("120", 60), ("6", 6)])
def test_a_long_retry_after_is_heeded_by_everybody(
    sandbox: Sandbox, clock: Clock, pauses: list[float], asked: str, remembered: float
) -> None:
    """Each request fails at once with retry_after, and for as long as that, at most 60 s, nobody asks for a token."""
    sandbox.answer_next_token_requests(2, 503, headers={"Retry-After": asked})
    with sandbox.session() as session:
        for since in 0, 1, remembered - 0.1:
            clock.monotonic = 1000 + since
            with pytest.raises(AuthorizationServerError, match="asks to wait") as caught:
                session.get(sandbox.api_url)
            assert (caught.value.status_code, caught.value.retry_after) == (503, float(asked))
            assert len(sandbox.token_requests) == 1
        clock.monotonic = 1000 + remembered
        with pytest.raises(AuthorizationServerError):
            session.get(sandbox.api_url)
        assert len(sandbox.token_requests) == 2
    assert pauses == sandbox.api_requests == []


def test_renewals_behind_requests_heed_a_long_retry_after(
    sandbox: Sandbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """While a token is stale and the server asks to wait, requests go out with it, and nobody asks or warns again."""
    sandbox.token_lifetime = 1000
    with sandbox.session(leeway=500) as session:
        session.get(sandbox.api_url)
        clock.advance(600)
        sandbox.answer_next_token_requests(1, 429, headers={"Retry-After": "120"})
        for _ in range(10):
            assert session.get(sandbox.api_url).status_code == 200
            finish_renewals()
            clock.advance(6)
        assert len(sandbox.token_requests) == caplog.text.count("before it expires") + 1 == 2
        session.get(sandbox.api_url)
        finish_renewals()
    assert len(sandbox.token_requests) == 3


def test_fetch_token_always_asks(sandbox: Sandbox, clock: Clock) -> None:
    """What is remembered stops no fetch_token, and is forgotten once a token has come."""
    sandbox.answer_next_token_requests(2, 503, headers={"Retry-After": "60"})
    with sandbox.session() as session:
        for expected in 1, 2:
            with pytest.raises(AuthorizationServerError):
                session.fetch_token()
            assert len(sandbox.token_requests) == expected
        session.fetch_token()
        session.token = None
        assert session.get(sandbox.api_url).status_code == 200
    assert len(sandbox.token_requests) == 4


def test_an_error_that_is_remembered_holds_nothing_of_the_caller(sandbox: Sandbox, clock: Clock) -> None:
    """What the request that failed had in its variables is freed, although others will get the same error."""

    class Order:
        """What a caller has at hand."""

    def place() -> weakref.ref[Order]:
        order = Order()
        with pytest.raises(InvalidClientError):
            session.get(sandbox.api_url)
        return weakref.ref(order)

    with sandbox.session(client_secret="wrong") as session:
        order = place()
        gc.collect()
        assert order() is None


# -- what the user gives, and takes ------------------------------------------------------------------------------------


def test_fetch_token_renews_now(sandbox: Sandbox) -> None:
    """fetch_token replaces a token that is still fresh, and returns the new one with its expiry."""
    with sandbox.session() as session:
        first = session.fetch_token()
        second = session.fetch_token()
        assert first["access_token"] != second["access_token"] == session.access_token
        assert second["expires_in"] == 300
        assert 0 < second["expires_at"] - time.time() <= 300
        assert session.refresh_token() == session.token
    assert len(sandbox.token_requests) == 3


@pytest.mark.parametrize("kept", ["access_token expires_at expires_in", "access_token expires_at"])
def test_a_stored_token_is_used_until_its_expiry(sandbox: Sandbox, clock: Clock, kept: str) -> None:
    """A token kept with its expires_at serves a new session for the rest of its life, and no longer."""
    with sandbox.session() as session:
        stored = session.fetch_token()
    clock.advance(100)
    with sandbox.session(leeway=0) as later:
        later.token = {name: stored[name] for name in kept.split()}
        later.get(f"{sandbox.api_url}/stored")
        clock.advance(190)
        later.get(f"{sandbox.api_url}/good")
        assert len(sandbox.token_requests) == 1
        clock.advance(10)
        later.get(f"{sandbox.api_url}/expired")
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 1, 2]


@pytest.mark.parametrize(
    "expires_at",
    [1.0, "soon", [], 0, -1, float("nan"), float("inf"), "Infinity", 1.8e12, 10**400],
    ids=lambda at: str(at)[:9],
)
@pytest.mark.parametrize("life", [{}, {"expires_in": 300}], ids=str)
def test_a_stored_token_that_has_expired_is_not_sent(sandbox: Sandbox, life: dict[str, Any], expires_at: Any) -> None:
    """A stored token of the past, or with a nonsensical expiry (milliseconds), is replaced before the first request."""
    with sandbox.session() as session:
        session.token = {"access_token": "old", "expires_at": expires_at, **life}
        assert session.get(f"{sandbox.api_url}/participants").status_code == 200
    assert len(sandbox.token_requests) == len(sandbox.api_requests) == 1


@pytest.mark.parametrize("expiry", [{}, {"expires_at": 1_800_000_300}], ids=str)
def test_a_stored_token_that_is_stale_is_renewed_behind_the_requests(
    sandbox: Sandbox, clock: Clock, expiry: dict[str, Any]
) -> None:
    """A stored token lives until its expires_at, or else from now on, and its leeway is that of any other."""
    with sandbox.session() as session:
        session.token = {"access_token": "stored", "expires_in": 300, **expiry}
        assert session.token["expires_at"] == clock.wall + 300
        clock.advance(240)
        sandbox.answer_next_api_requests(1, 200)
        session.get(sandbox.api_url)
        finish_renewals()
        session.get(sandbox.api_url)
    assert [exchange.token_number for exchange in sandbox.api_requests] == [None, 1]


def test_a_stored_token_lives_no_longer_than_its_life(sandbox: Sandbox, clock: Clock) -> None:
    """A wall clock that stepped back since a token was stored does not lengthen the token's life."""
    with sandbox.session() as session:
        stored = session.fetch_token()
    clock.wall -= 3600
    with sandbox.session(leeway=0) as later:
        later.token = stored
        clock.advance(300)
        later.get(f"{sandbox.api_url}/participants")
    assert len(sandbox.token_requests) == 2


def test_assigning_no_token_makes_the_session_fetch_one(sandbox: Sandbox) -> None:
    """An empty token, or a deleted access_token, sends the next request for a new one."""
    with sandbox.session() as session:
        session.get(f"{sandbox.api_url}/participants")
        session.token = {}
        assert session.access_token is None
        session.get(f"{sandbox.api_url}/participants")
        del session.access_token
        session.get(f"{sandbox.api_url}/participants")
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 2, 3]


def test_token_updater_hears_of_each_new_token(sandbox: Sandbox, clock: Clock) -> None:
    """token_updater is called once for each token, with what session.token is then, and may use the session."""
    told: list[dict[str, Any]] = []
    with sandbox.session() as session:
        session.token_updater = lambda token: told.append({**token, "seen": session.get(sandbox.api_url).status_code})
        at_once(8, lambda: session.get(f"{sandbox.api_url}/participants"))
        clock.advance(300)
        at_once(8, lambda: session.get(f"{sandbox.api_url}/participants"))
        assert told[-1] == {**session.token, "seen": 200}
    assert len(told) == len(sandbox.token_requests) == 2


def test_a_token_updater_that_hangs_holds_up_nobody_else(sandbox: Sandbox) -> None:
    """While one thread stores its token for ever, others get tokens of their own."""
    storing, stored = threading.Event(), threading.Event()

    def store(token: dict[str, Any]) -> None:
        session.token_updater = None
        storing.set()
        stored.wait(10)

    with sandbox.session(token_updater=store) as session:
        first = in_background(session.fetch_token)
        assert storing.wait(10)
        in_background(session.fetch_token).result(5)
        stored.set()
        first.result(10)
    assert len(sandbox.token_requests) == 2


def test_a_token_updater_that_fails_costs_no_request(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """The token is used although it could not be stored; the log names the failure, without its words."""

    def store(token: dict[str, Any]) -> None:
        raise OSError(f"disk full: {token}")

    with sandbox.session(token_updater=store) as session:
        assert session.get(f"{sandbox.api_url}/participants").status_code == 200
        assert str(session.access_token) not in caplog.text
    assert ("gopacs_session", "token_updater raised OSError; the new token is used all the same.") in [
        (record.name, record.message) for record in caplog.records
    ]


def test_a_token_updater_that_renews_costs_one_token_request(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """A token_updater that asks for the next token, and so for itself, is told so; the token is used all the same."""
    with sandbox.session() as session:
        session.token_updater = lambda token: session.fetch_token()
        assert session.get(f"{sandbox.api_url}/participants").status_code == 200
        session.token_updater = None
        session.fetch_token()
    assert len(sandbox.token_requests) == 2
    assert "token_updater raised TokenRequestError" in caplog.text


def test_a_month_costs_a_token_request_each_life(sandbox: Sandbox, clock: Clock) -> None:
    """A request each 20 s over hours asks for as many tokens as there are lifetimes, one after the other."""
    with sandbox.session(leeway=60) as session:
        for _ in range(12 * 15):
            assert session.get(f"{sandbox.api_url}/participants").status_code == 200
            finish_renewals()
            clock.advance(20)
    lifetimes = 12 * 15 * 20 / (300 - 60)
    assert len(sandbox.token_requests) == pytest.approx(lifetimes, abs=1)
