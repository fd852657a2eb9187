"""How long a token is used, when it is renewed, and what is remembered of a failure."""

from __future__ import annotations

import math
from typing import Any
from unittest.mock import Mock

import pytest
from support import Clock, at_once, finish_renewals

import gopacs_session.clock
from gopacs_session import AuthorizationServerError, ConfigurationError, TokenRequestError
from gopacs_session.sandbox import Sandbox

# Leeway and life of the tokens; then seconds that pass, the token of the next request, and the token requests so far.
LIVES: dict[str, tuple[float, float, list[tuple[float, int, int]]]] = {
    "fresh before the leeway": (60, 300, [(0, 1, 1), (239, 1, 1)]),
    "stale in the leeway": (60, 300, [(240, 1, 2), (0, 2, 2)]),
    "unusable in the last 5 s": (0, 300, [(294.875, 1, 1), (0.125, 2, 2)]),
    "unusable in the last tenth": (0, 10, [(8.875, 1, 1), (0.125, 2, 2)]),
    "leeway of half a life at most": (3600, 100, [(49, 1, 1), (1, 1, 2)]),
    "clock set back": (60, 300, [(-3600, 1, 1)]),
    "nothing runs for a week": (60, 300, [(7 * 24 * 3600, 2, 2), (0, 2, 2)]),
}


@pytest.mark.parametrize("leeway, life, steps", LIVES.values(), ids=LIVES)
def test_a_token_is_used_while_it_is_good(
    sandbox: Sandbox, clock: Clock, leeway: float, life: float, steps: list[tuple[float, int, int]]
) -> None:
    """By the wall clock alone a token is fresh, then renewed behind requests, and in the end not sent any more."""
    sandbox.token_lifetime = life
    with sandbox.session(leeway=leeway) as session:
        assert (session.token, session.authorized, sandbox.token_requests) == ({}, False, [])
        session.get(sandbox.api_url)
        assert session.authorized
        for seconds, number, token_requests in steps:
            clock.wall += seconds
            session.get(sandbox.api_url)
            finish_renewals()
            assert (sandbox.api_requests[-1].token_number, len(sandbox.token_requests)) == (number, token_requests)


def test_a_stale_token_is_renewed_once_behind_the_requests(sandbox: Sandbox, clock: Clock) -> None:
    """While a stale token is renewed, requests go out at once with it; and so with the next, behind them."""
    with sandbox.session(token_timeout=60) as session:
        session.get(sandbox.api_url)
        for times in 1, 2:
            clock.advance(240)
            with sandbox.hold_token_requests():
                assert [answer.status_code for answer in at_once(8, lambda: session.get(sandbox.api_url))] == [200] * 8
                sandbox.wait_for_token_requests(1 + times)
            finish_renewals()
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1] * 9 + [2] * 8
    assert len(sandbox.token_requests) == 3


def test_what_goes_wrong_behind_requests_is_logged_by_its_class(sandbox: Sandbox, clock: Clock, caplog: Any) -> None:
    """What a client_secret callable raises may hold anything."""
    vault = Mock(side_effect=[sandbox.client_secret, KeyError("its-secret")])
    with sandbox.session(client_secret=vault) as session:
        session.get(sandbox.api_url)
        clock.advance(240)
        session.get(sandbox.api_url)
        finish_renewals()
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == ["KeyError"]


@pytest.mark.parametrize("retry_after, tries, pause", [("", 3, 5), ("5", 3, 5), ("20", 1, 20), ("120", 1, 60)])
def test_a_failed_renewal_behind_requests_harms_nobody(
    sandbox: Sandbox, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    retry_after: str, tries: int, pause: float,
) -> None:  # fmt: skip
    """Only the log knows; nobody asks within 5 s of its end, or before a longer Retry-After is over."""
    monkeypatch.setattr(gopacs_session.clock, "sleep", clock.advance)
    sandbox.token_lifetime = 1000
    with sandbox.session(leeway=500) as session:
        session.get(sandbox.api_url)
        clock.advance(600)
        sandbox.answer_next_token_requests(tries, 503, headers={"Retry-After": retry_after})
        for seconds, token_requests in (0, 1 + tries), (pause - 0.5, 1 + tries), (6, 2 + tries):
            clock.advance(seconds)
            assert session.get(sandbox.api_url).status_code == 200
            finish_renewals()
            assert len(sandbox.token_requests) == token_requests
    assert "could not be renewed before it expires" in caplog.text


def test_a_life_begins_when_the_token_is_asked_for(clock: Clock, pauses: list[float]) -> None:
    """The time that the answer took is no part of the token's life; that of earlier tries has nothing to do with it."""
    with Sandbox(on_request=lambda _: clock.advance(100)) as sandbox, sandbox.session() as session:
        sandbox.answer_next_token_requests(2, 503)
        assert session.fetch_token()["expires_at"] == clock.wall + 300 - 100
    assert len(pauses) == 2


YEAR = 366 * 24 * 3600
SENSELESS = [None, True, [], {}, "", "soon", 0, -5, math.inf, math.nan, 10**400, "1" * 5000, YEAR + 1]
SENSIBLE = [("300", 300), ("300.0", 300), (300.7, 300.7), (YEAR, YEAR), (0.001, 1)]


@pytest.mark.parametrize(
    "expires_in, life", [*SENSIBLE, *((value, 60) for value in SENSELESS)], ids=lambda v: str(v)[:9]
)
def test_a_life_is_what_expires_in_makes_of_it(sandbox: Sandbox, clock: Clock, expires_in: Any, life: float) -> None:
    """Seconds count however they are written, from 1 to a year; zero, negative or absurd ones mean a minute."""
    sandbox.answer_next_token_requests(1, 200, body={"access_token": "abc", "expires_in": expires_in})
    with sandbox.session() as session:
        token = session.fetch_token()
    assert (token["expires_in"], token["expires_at"]) == (life, clock.wall + life)


# -- failures are remembered -------------------------------------------------------------------------------------------

RETRY_AFTER = {"0": 1, "Mon, 01 Jan 2024 00:00:00 GMT": 1, "6": 6, "120": 60}
FAILURES = [*((503, asked, seconds) for asked, seconds in RETRY_AFTER.items()), (429, "0", 1)]
FAILURES += [(status, "", 1) for status in (200, 302, 400, 401, 403, 404)]


@pytest.mark.parametrize("status, retry_after, seconds", FAILURES)
def test_a_failure_is_remembered(
    sandbox: Sandbox, clock: Clock, pauses: list[float], status: int, retry_after: str, seconds: float
) -> None:
    """Threads in loops get the same error, and ask once a second, or once a Retry-After of at most 60 s, in all."""
    sandbox.answer_next_token_requests(math.inf, status, headers={"Retry-After": retry_after})

    def loop() -> None:
        for _ in range(5):
            with pytest.raises(TokenRequestError) as caught:
                session.get(sandbox.api_url)
            errors.append(caught.value)

    errors, counts = [], []
    with sandbox.session() as session:
        for passed in 0, seconds - 0.5, 0.5:
            clock.monotonic += passed
            assert at_once(4, loop) == [None] * 4
            counts.append(len(sandbox.token_requests))
        tries = 3 if status in (429, 503) and seconds == 1 else 1
        assert counts == [tries, tries, 2 * tries]
        assert {error.status_code for error in errors} == {status}
        assert len(set(map(id, errors))) == len(errors)  # Else threads would add to each other's tracebacks.
        sandbox.answer_next_token_requests(0, 200)
        clock.monotonic += seconds
        assert session.get(sandbox.api_url).status_code == 200
    assert len(sandbox.api_requests) == 1


def test_fetch_token_always_asks(sandbox: Sandbox, clock: Clock) -> None:
    """Neither what is remembered nor a fresh token stops it."""
    sandbox.answer_next_token_requests(2, 503, headers={"Retry-After": "60"})
    with sandbox.session() as session:
        for expected in 1, 2:
            with pytest.raises(AuthorizationServerError):
                session.fetch_token()
            assert len(sandbox.token_requests) == expected
        first = session.fetch_token()
        assert first["access_token"] != session.fetch_token()["access_token"] == session.access_token
    assert len(sandbox.token_requests) == 4


# -- what the user gives, and takes ------------------------------------------------------------------------------------

NOW = Clock().wall
STORED: list[tuple[dict[str, Any], float]] = [
    ({"expires_at": NOW + 200, "expires_in": 300}, 200),
    ({"expires_at": str(NOW + 200)}, 200),
    ({"expires_in": 300}, 300),
    ({"expires_at": NOW - 1}, -1),
    ({"expires_at": NOW + 3900, "expires_in": 300}, 300),  # The clock was set back since.
    *(({"expires_at": value}, 60) for value in (None, NOW * 1000, "soon", [], math.nan, math.inf, 10**400)),
]


@pytest.mark.parametrize("expiry, left", STORED, ids=lambda value: str(value)[:60])
def test_a_stored_token_serves_for_what_is_left_of_it(
    sandbox: Sandbox, clock: Clock, expiry: dict[str, Any], left: float
) -> None:
    """It lives until its expires_at, but no longer than a whole life from now; one that is over is renewed."""
    sandbox.answer_next_api_requests(2, 200)
    with sandbox.session(leeway=0) as session:
        session.token = {"access_token": "stored", **expiry}
        assert session.token["expires_at"] - clock.wall == left
        session.get(sandbox.api_url)
        clock.advance(left)
        session.get(sandbox.api_url)
    assert [exchange.authorization == "Bearer stored" for exchange in sandbox.api_requests] == [left > 0, False]


@pytest.mark.parametrize("bad", ["abc", {"expires_in": 300}, *({"access_token": bad} for bad in ("", "a\nb", 5))])
def test_what_is_no_token_cannot_be_stored(sandbox: Sandbox, bad: Any) -> None:
    """A ConfigurationError, and the current token stays; an empty one has the next request ask."""
    with sandbox.session() as session:
        token = session.fetch_token()
        with pytest.raises(ConfigurationError):
            session.token = bad
        assert session.token == token
        session.token = {}
        session.get(sandbox.api_url)
    assert len(sandbox.token_requests) == 2


@pytest.mark.parametrize("name", ["OSError", "TokenRequestError"])
def test_a_token_updater_costs_no_request(sandbox: Sandbox, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """It gets each token once, to store it, not to ask for another; what it raises is logged by its class."""

    def store(token: dict[str, Any]) -> None:
        stored.append(dict(token))
        token.clear()
        if name == "OSError":
            raise OSError(f"disk full: {stored}")
        session.fetch_token()

    stored: list[dict[str, Any]] = []
    with sandbox.session(token_updater=store) as session:
        assert {answer.status_code for answer in at_once(8, lambda: session.get(sandbox.api_url))} == {200}
        assert stored == [session.token]
        assert str(session.access_token) not in caplog.text
    assert [record.message for record in caplog.records] == [
        f"token_updater raised {name}; the new token is used all the same."
    ]
    assert len(sandbox.token_requests) == 1
