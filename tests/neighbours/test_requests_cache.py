"""requests-cache: answers of the API come from a cache, tokens never do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from requests_cache import CacheMixin
from support import Clock

from gopacs_session import AuthorizationServerError, Environment, GopacsSession
from gopacs_session.sandbox import Sandbox


class CachedGopacsSession(CacheMixin, GopacsSession):
    """A session with a cache. CacheMixin drops unknown options: a misspelt environment must not be one."""

    def __init__(self, client_id: str, client_secret: str, environment: Environment | str, **options: Any) -> None:
        super().__init__(client_id=client_id, client_secret=client_secret, environment=environment, **options)


Make = Callable[..., CachedGopacsSession]


@pytest.fixture
def make(sandbox: Sandbox, tmp_path: Path) -> Make:
    """Makes sessions that share a cache on disk."""

    def make(**options: Any) -> CachedGopacsSession:
        options = {"cache_name": str(tmp_path / "cache"), "allowable_methods": ["GET", "POST"], **options}
        session = CachedGopacsSession(sandbox.client_id, sandbox.client_secret, sandbox.environment, **options)
        sandbox.trust(session)
        return session

    return make


def test_a_token_never_comes_from_the_cache(sandbox: Sandbox, make: Make, clock: Clock) -> None:
    """Each renewal asks the token endpoint anew, even if equal POST requests are cached for ever."""
    with make(expire_after=-1) as session:
        for number in range(3):
            session.get(f"{sandbox.api_url}/{number}")
            clock.advance(sandbox.token_lifetime)
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 2, 3]


def test_a_refused_token_is_replayed_behind_the_cache(sandbox: Sandbox, make: Make) -> None:
    """The cache keeps the final answer of a 401 that was replayed: the next request costs nothing."""
    with make() as session:
        session.get(f"{sandbox.api_url}/warm")
        sandbox.revoke_tokens()
        answers = [session.get(f"{sandbox.api_url}/participants") for _ in range(2)]
    assert [(answer.status_code, answer.from_cache) for answer in answers] == [(200, False), (200, True)]
    assert [(exchange.status, exchange.token_number) for exchange in sandbox.api_requests[1:]] == [(401, 1), (200, 2)]


def test_what_the_cache_keeps(sandbox: Sandbox, make: Make, tmp_path: Path) -> None:
    """Neither token nor secret are on disk, if answers with a history, whose requests bear tokens, are left out."""
    with make(filter_fn=lambda answer: not answer.history) as session:
        session.get(f"{sandbox.api_url}/participants")
        sandbox.revoke_tokens()
        session.get(f"{sandbox.api_url}/refused")
        session.post(f"{sandbox.api_url}/message", data={"volume": "3"})
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("cache*"))
    assert [path in kept for path in (b"/participants", b"/refused", b"/message")] == [True, False, True]
    tokens = {str(exchange.authorization).split()[-1] for exchange in sandbox.api_requests}
    assert len(tokens) == 2
    assert [secret for secret in (sandbox.client_secret, *tokens) if secret.encode() in kept] == []


@pytest.mark.usefixtures("pauses")
def test_the_token_comes_before_the_cache(sandbox: Sandbox, make: Make, clock: Clock) -> None:
    """If no token can be obtained, a request fails before the cache is asked; withhold_token=True gets at the cache."""
    with make() as session:
        session.get(sandbox.api_url)
        clock.advance(sandbox.token_lifetime)
        sandbox.answer_next_token_requests(3, 503)
        with pytest.raises(AuthorizationServerError):
            session.get(sandbox.api_url)
        assert session.get(sandbox.api_url, withhold_token=True, only_if_cached=True).from_cache
