"""Whatever servers answer and wherever they redirect to. Nothing is sent: requests is asked where it would connect.

What comes as a token answer, and which URL is covered, is fuzzed in ``tests/test_grant.py`` and
``tests/test_environments.py``; here it is what follows from them.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support import Clock

from gopacs_session import (
    PRODUCTION,
    AuthorizationServerError,
    ConfigurationError,
    InsecureURLError,
    WrongEnvironmentError,
)

from .tap import Answer, Tap, client, outcome, tapped

REFUSALS = {InsecureURLError, WrongEnvironmentError}
REDIRECTS = [301, 302, 303, 307, 308]
START = "https://api.gopacs-services.eu/start"

BOUNDED = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # Clocks only go on, and pauses only gather.
)


def is_own(scheme: str, host: str) -> bool:
    """Production's hosts over https, in the simplest code there is."""
    labels = host.split(".")
    return scheme == "https" and labels[-2:] == ["gopacs-services", "eu"] and labels[-3:-2] != ["acc"]


# -- where the token goes ----------------------------------------------------------------------------------------------

HOSTS = ["api.gopacs-services.eu", "gopacs-services.eu", "API.GOPACS-SERVICES.EU.", "clc.gopacs-services.eu:8443"]
HOSTS += ["user:password@gopacs-services.eu", "evil.example", "gopacs-services.eu.evil.example", "[::1]:443"]
HOSTS += ["gopacs-services.eu@evil.example", "evilgopacs-services.eu", "api.acc.gopacs-services.eu", "127.0.0.1"]
SCHEMES = st.sampled_from(["https", "https", "https", "https", "http"])
URLS = st.builds("{}://{}/{}".format, SCHEMES, st.sampled_from(HOSTS), st.integers(0, 9))
ELSEWHERE = ["/path", "?query", "//api.gopacs-services.eu/", "//evil.example/", ".", "#fragment"]
LOCATIONS = URLS | st.sampled_from(ELSEWHERE)

TRICKS = [*HOSTS, *"@:/?#\\%.,;&=[] \t\r\n\x00\x85"]
TRICKS += ["//", "%2e", "%40", "%2f", "%5c", "xn--", "https:", "http://", "eu"]
TRICKS += ["\uff0e", "\uff20", "\uff0f", "\u3002", "\u017f", "\u00ad", "\u2044", "\u2100", "\u0130"]
PIECES = st.lists(st.sampled_from(TRICKS) | st.characters(exclude_categories=["Cs"]), max_size=6).map("".join)
STARTS = st.sampled_from(["https://", "https://", "https://", "http://", "https:\\\\", "https:", "//", "/", ""])
ANYTHING = st.builds("{}{}{}{}".format, STARTS, PIECES, st.sampled_from(HOSTS), PIECES)


def redirecting(hops: Iterable[tuple[int, str]]) -> Tap:
    """Answers with these redirects; in UTF-8, as requests reads them."""
    return Tap(Answer(status, {"Location": url.encode().decode("latin-1")}) for status, url in hops)


def visits(tap: Tap) -> list[tuple[str, ...]]:
    return [(sent.scheme, sent.host, sent.method, sent.url) for sent in tap.sent]


def trip(method: str, start: str, hops: list[tuple[int, str]]) -> tuple[Tap, bool]:
    """Where a session of production went, which is where a plain one goes; whether it refused to go on."""
    tap, plain = redirecting(hops), redirecting(hops)
    ended = outcome(lambda: client(PRODUCTION, tap).request(method, start))
    plainly_ended = outcome(lambda: tapped(requests.Session(), plain).request(method, start))
    assume(plainly_ended is not UnicodeEncodeError)  # What requests says to some user-info; the token needs none.
    if ended in REFUSALS:
        assert visits(tap) == visits(plain)[: len(tap.sent)]
    else:
        assert (visits(tap), ended) == (visits(plain), plainly_ended)
    return tap, ended in REFUSALS


@settings(BOUNDED, max_examples=400)
@given(st.sampled_from(["GET", "POST"]), URLS, st.lists(st.tuples(st.sampled_from(REDIRECTS), LOCATIONS), max_size=5))
def test_the_token_goes_along_until_a_redirect_leaves(method: str, start: str, hops: list[tuple[int, str]]) -> None:
    """Requests bear the token up to the first host that is foreign or plain http, and never again after it."""
    tap, _ = trip(method, start, hops)
    own = [is_own(sent.scheme, sent.host) for sent in tap.sent]
    assert [sent.bears_token for sent in tap.sent] == [all(own[: n + 1]) for n in range(len(own))]


@settings(BOUNDED, max_examples=1000)
@given(URLS | ANYTHING, st.lists(st.tuples(st.sampled_from(REDIRECTS), ANYTHING), max_size=3))
def test_no_url_smuggles_the_token_out(start: str, hops: list[tuple[int, str]]) -> None:
    """However a URL or a Location is written, the token goes only where the connection is one to an own host."""
    tap, _ = trip("GET", start, hops)
    assert [sent for sent in tap.sent if sent.bears_token and not is_own(sent.scheme, sent.host)] == []


# -- what a refusal says -----------------------------------------------------------------------------------------------

PARTS = st.sampled_from(
    ["Bearer", "Basic", "realm", "error", "=", ",", " ", '"', "\\", "invalid_token", "insufficient_scope", "\t"]
)
CHALLENGES = st.lists(PARTS | st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=12).map("".join)
REFUSED = st.tuples(st.sampled_from([401, 401, 403]), CHALLENGES | st.just('Bearer error="invalid_token"') | st.none())


def surely_mended(status: int, challenge: str | None) -> bool:
    invalid = challenge == 'Bearer error="invalid_token"'
    return invalid or (status == 401 and "insufficient_scope" not in (challenge or "").lower())


def surely_not_mended(status: int, challenge: str | None) -> bool:
    return status == 403 and "invalid_token" not in (challenge or "").lower()


@settings(BOUNDED, max_examples=300)
@given(st.lists(REFUSED, min_size=1, max_size=6), st.sampled_from([None, "text", b"bytes", "iterator"]))
def test_no_challenge_causes_more_than_one_replay(
    clock: Clock, refusals: list[tuple[int, str | None]], body: Any
) -> None:
    """Whatever a refusal says, it costs one renewal; the second one reaches the caller, and costs none for 5 s."""
    tap = Tap(Answer(status, {} if text is None else {"WWW-Authenticate": text}) for status, text in refusals)
    session = client(PRODUCTION, tap)
    answer = session.post(START, data=iter([b"chunk"]) if body == "iterator" else body)
    replays = len(tap.sent) - 1
    assert tap.token_requests == 1 + replays <= 2
    assert replays == 0 or not (body == "iterator" or surely_not_mended(*refusals[0]))
    assert replays == 1 or body == "iterator" or not surely_mended(*refusals[0])
    last = (answer.status_code, answer.headers.get("WWW-Authenticate"))
    assert last == ([*refusals, (200, None)][replays])
    if replays and len(refusals) > 1 and surely_mended(*refusals[1]):
        for _ in range(3):
            session.post(START, data=b"bytes")
            clock.advance(1.6)
        assert tap.token_requests == 2
    assert all(sent.bears_token for sent in tap.sent)


# -- what a token answer says ------------------------------------------------------------------------------------------

NUMBERS = st.integers() | st.floats() | st.sampled_from([1e400, -1e400, 10**400, 0.1, 5, 300, 366 * 24 * 3600, 2**63])
LIVES = NUMBERS | NUMBERS.map(str) | st.booleans() | st.none() | st.text(max_size=5) | st.just([]) | st.just({})


@settings(BOUNDED, max_examples=300)
@given(life=LIVES, clocks=st.sampled_from(["both", "monotonic", "wall"]))
def test_every_token_is_used_and_every_token_ends(clock: Clock, life: Any, clocks: str) -> None:
    """Whatever life a token is said to have, it serves its first requests, and ends by whichever clock goes on."""
    answer = {"access_token": "token-", "expires_in": life, "token_type": "Bearer"}
    tap = Tap(token_answer=Answer(body=json.dumps(answer).encode()))
    session = client(PRODUCTION, tap)
    session.get(START)
    life = session.token["expires_in"]
    assert 1 <= life <= 366 * 24 * 3600
    assert session.token["expires_at"] == pytest.approx(clock.wall + life)
    session.get(START)
    assert tap.token_requests == 1
    clock.monotonic += 0 if clocks == "wall" else life
    clock.wall += 0 if clocks == "monotonic" else life
    session.get(START)
    assert tap.token_requests == 2


KEPT = st.fixed_dictionaries(
    {"access_token": st.just("token-kept")}, optional={"expires_in": LIVES, "expires_at": LIVES}
)
STORED = KEPT | st.dictionaries(st.sampled_from(["access_token", "expires_in", "expires_at", "token_type"]), LIVES)


@settings(BOUNDED, max_examples=400)
@given(stored=STORED)
def test_any_stored_token_is_refused_or_used_or_replaced(clock: Clock, stored: dict[str, Any]) -> None:
    """Whatever was stored is a ConfigurationError, or a token that a session and its pickled copy use until it ends."""
    session = client(PRODUCTION, Tap())
    try:
        session.token = stored
    except ConfigurationError:
        assert stored.get("access_token") != "token-kept"
        return
    taps = Tap(), Tap()
    copies = [tapped(pickle.loads(pickle.dumps(session)), taps[1]), tapped(session, taps[0])]
    for copy in copies:
        assert copy.get(START).status_code == 200
    assert taps[0].token_requests == taps[1].token_requests <= 1
    clock.advance(366 * 24 * 3600)
    for copy in copies:
        assert copy.get(START).status_code == 200
    assert taps[0].token_requests == taps[1].token_requests >= 1


# -- how long to wait --------------------------------------------------------------------------------------------------

DAYS = ["Wed", "Wed,", "21", "31", "Oct", "Feb", "2015", "9999", "0000", "99999", "07:28:00", "24:61:61", ":"]
ZONES = ["GMT", "UTC", "-0000", "+9999", "-2400", "Z", "(", ")", "EST", "-", "1", "1e3", "\u0663", "inf", "nan"]
DATES = st.lists(st.sampled_from(DAYS) | st.sampled_from(ZONES), max_size=7).map(" ".join)
WHENS = DATES | st.dates().map(lambda day: day.strftime("%a, %d %b %Y 00:00:00 GMT")) | st.integers().map(str)


@settings(BOUNDED, max_examples=500)
@given(when=WHENS)
def test_every_retry_after_is_obeyed_or_told(clock: Clock, pauses: list[float], when: str) -> None:
    """Up to 5 s it is the pause between tries; beyond, an error at once, and no token request for 60 s at most."""
    tap = Tap(token_answer=Answer(503, {"Retry-After": when.encode().decode("latin-1")}))
    session = client(PRODUCTION, tap)
    with pytest.raises(AuthorizationServerError) as caught:
        session.get(START)
    asked = caught.value.retry_after or 0
    assert tap.token_requests == (1 if asked > 5 else 3)
    assert asked > 5 or all(0 <= pause <= 5 for pause in pauses[-2:])
    clock.advance(max(0, min(asked, 60) - 0.5))
    before = tap.token_requests
    with pytest.raises(AuthorizationServerError):
        session.get(START)
    assert tap.token_requests == (before if asked > 5 else before + 3)
    clock.advance(1)
    with pytest.raises(AuthorizationServerError):
        session.get(START)
    assert tap.token_requests > before
