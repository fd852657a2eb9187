"""Airflow's HttpHook: it makes a session of its own for each run, and asks its auth_type for an auth object."""

from __future__ import annotations

import json
from functools import cache, partial

import pytest
from airflow.providers.http.hooks.http import HttpHook

from gopacs_session import GopacsAuth
from gopacs_session.sandbox import Sandbox


@pytest.fixture(autouse=True)
def connection(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """One to the sandbox's API, with the client's id and secret as login and password."""
    fields = {
        "conn_type": "http",
        "host": sandbox.api_url,
        "login": sandbox.client_id,
        "password": sandbox.client_secret,
        "extra": {"verify": sandbox.ca_file},
    }
    monkeypatch.setenv("AIRFLOW_CONN_GOPACS", json.dumps(fields))


def test_runs_share_a_token(sandbox: Sandbox) -> None:
    """With the auth object kept by a cache, runs share its token, and a refused one is renewed and replayed."""
    hook = HttpHook("GET", http_conn_id="gopacs", auth_type=cache(partial(GopacsAuth, environment=sandbox.environment)))
    for path in "/participants", "/messages":
        hook.run(path)
    sandbox.revoke_tokens()
    assert hook.run("/messages").json()["path"] == "/messages"
    assert [exchange.status for exchange in sandbox.api_requests] == [200, 200, 401, 200]
    assert len(sandbox.token_requests) == 2
