"""Sessions that are pickled, copied, or shipped to other processes."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
import requests
import requests_mock
from support import Clock, call_the_api, exit_status, forked, needs_fork

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Sandbox

COPIES: list[Callable[[Any], Any]] = [lambda session: pickle.loads(pickle.dumps(session)), copy.copy, copy.deepcopy]
NAMES = ["pickle", "copy", "deepcopy"]


@pytest.mark.parametrize("duplicate", COPIES, ids=NAMES)
def test_a_cold_copy_fetches_its_own_token(sandbox: Sandbox, duplicate: Callable[[Any], Any]) -> None:
    """A copy of a session without a token works, with the settings of the original."""
    with sandbox.session(scope="email", timeout=7) as session:
        session.headers["X-Desk"] = "north"
        with duplicate(session) as twin:
            assert twin.get(f"{sandbox.api_url}/participants").status_code == 200
            assert (twin.environment, twin.timeout, twin.scope) == (session.environment, 7, "email")
    assert sandbox.api_requests[0].headers["X-Desk"] == "north"


@pytest.mark.parametrize("duplicate", COPIES, ids=NAMES)
def test_a_warm_copy_keeps_the_token(sandbox: Sandbox, clock: Clock, duplicate: Callable[[Any], Any]) -> None:
    """A copy of a session with a token uses that token for the rest of its life, then renews it."""
    with sandbox.session(leeway=0) as session:
        session.get(f"{sandbox.api_url}/warm")
        clock.advance(200)
        with duplicate(session) as twin:
            twin.get(f"{sandbox.api_url}/participants")
            assert len(sandbox.token_requests) == 1
            clock.advance(96)
            twin.get(f"{sandbox.api_url}/participants")
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 1, 2]


@pytest.mark.parametrize("duplicate", COPIES, ids=NAMES)
def test_a_copy_sends_through_itself(sandbox: Sandbox, duplicate: Callable[[Any], Any]) -> None:
    """What was wrapped around the original's methods stays there: a copy sends by its own, replays included."""
    calls: list[str] = []

    def wrap(name: str) -> None:
        method = getattr(session, name)

        def wrapper(*args: Any, **options: Any) -> Any:
            calls.append(name)
            return method(*args, **options)

        setattr(session, name, wrapper)

    with sandbox.session() as session:
        for name in "request", "send", "get_adapter":
            wrap(name)
        session.get(sandbox.api_url)
        assert set(calls) == {"request", "send", "get_adapter"}
        calls.clear()
        with duplicate(session) as twin:
            sandbox.revoke_tokens()
            assert twin.get(sandbox.api_url).status_code == 200
            twin.fetch_token()
    assert calls == []


def test_a_users_attributes_go_along(sandbox: Sandbox) -> None:
    """Attributes that a subclass or the user added survive a pickle; one that can't be pickled breaks it."""
    with sandbox.session() as session:
        session.desk = "north"
        assert pickle.loads(pickle.dumps(session)).desk == "north"
        session.desk = threading.Lock()
        assert copy.copy(session).desk is session.desk
        with pytest.raises(TypeError, match="lock"):
            pickle.dumps(session)


def test_a_warm_session_shipped_to_processes_costs_no_token_request(sandbox: Sandbox) -> None:
    """Worker processes that were started afresh use the shipped session's token."""
    with sandbox.session() as session:
        session.fetch_token()
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            answers = [pool.submit(call_the_api, session, f"{sandbox.api_url}/worker") for _ in range(4)]
            assert [answer.result(60) for answer in answers] == [200] * 4
    assert len(sandbox.token_requests) == 1


@pytest.mark.parametrize("duplicate", [COPIES[0], COPIES[2]], ids=["pickle", "deepcopy"])
def test_an_answer_can_be_copied_without_the_secret(sandbox: Sandbox, duplicate: Callable[[Any], Any]) -> None:
    """A response pickles as in requests; neither session nor secret hangs on it, though its request bore a token."""
    with sandbox.session() as session:
        answer = session.get(f"{sandbox.api_url}/participants")
        assert sandbox.client_secret.encode() not in pickle.dumps(answer)
        twin = duplicate(answer)
        assert (twin.status_code, twin.json()) == (200, answer.json())
        assert twin.request.headers == answer.request.headers
        assert session.send(twin.request).status_code == 200


def test_a_copied_request_that_is_refused_is_the_callers(sandbox: Sandbox) -> None:
    """A prepared request that went through a pickle has no session any more to renew its token."""
    with sandbox.session() as session:
        prepared = session.prepare_request(requests.Request("GET", sandbox.api_url))
        sandbox.revoke_tokens()
        assert session.send(pickle.loads(pickle.dumps(prepared))).status_code == 401


def test_a_copied_request_is_still_the_sessions(sandbox: Sandbox) -> None:
    """Within its process a copy of a prepared request, deep or shallow, is replayed, keeps its token, and hides it."""
    with sandbox.session() as session:
        prepared = session.prepare_request(requests.Request("POST", f"{sandbox.api_url}/message", data=b"<message/>"))
        sandbox.revoke_tokens()
        sandbox.answer_next_api_requests(1, 307, headers={"Location": "/elsewhere"})
        for twin in (copy.deepcopy(prepared), copy.copy(prepared), prepared.copy()):
            assert session.send(twin).status_code == 200
            assert "Bearer ***" in repr(twin.headers)
        assert "Bearer ***" in repr(copy.deepcopy(session.auth_header))
    assert [exchange.token_number for exchange in sandbox.api_requests][:3] == [1, 1, 2]


class Unpicklable(GopacsSession):
    """A session of a user who keeps secrets out of pickles."""

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("not to be pickled")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unpicklable)


def test_a_session_that_cannot_be_pickled_or_hashed_works(sandbox: Sandbox) -> None:
    """Whatever a subclass makes of pickling and equality, it gets its token."""
    with Unpicklable(sandbox.client_id, sandbox.client_secret, sandbox.environment) as session:
        sandbox.trust(session)
        assert session.get(f"{sandbox.api_url}/participants").status_code == 200


@needs_fork
def test_a_forked_child_shares_no_connection(sandbox: Sandbox) -> None:
    """Parent and child, forked with an idle connection in the pool, both go on, with the adapters' own settings."""
    with sandbox.session() as session:
        adapter: Any = session.get_adapter(f"{sandbox.api_url}/")
        adapter.init_poolmanager(3, 5, assert_hostname="localhost")
        session.mount("mock://", requests_mock.Adapter())
        session.get(f"{sandbox.api_url}/warm")

        def works() -> bool:
            kept = adapter.poolmanager.connection_pool_kw["assert_hostname"] == "localhost"
            return kept and session.get(f"{sandbox.api_url}/child").ok

        child = forked(works)
        assert [session.get(f"{sandbox.api_url}/parent").status_code for _ in range(5)] == [200] * 5
        assert exit_status(child) == 0
    assert len(sandbox.token_requests) == 1
